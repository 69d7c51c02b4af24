//! SMTP authentication: PLAIN, LOGIN and CRAM-MD5, in the server's own order of preference.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::session::Session;
use crate::notify::NotifyError;
use crate::route::receiver::email::Login;

/// Logs in with the first of the server's mechanisms that we have a secret for.
///
/// A server that knows no AUTH is sent mail without, as Alertmanager does: relays that trust a
/// network are configured so.
pub(super) async fn log_in(session: &mut Session<'_>, login: &Login) -> Result<(), NotifyError> {
    let offered = session.offer("AUTH").map(|words| words.join(" ").to_ascii_uppercase());
    let Some(offered) = offered else { return Ok(()) };
    for mechanism in offered.split(' ') {
        let source = match mechanism {
            "CRAM-MD5" => &login.secret,
            "PLAIN" | "LOGIN" => &login.password,
            _ => continue,
        };
        let Some(source) = source else { continue };
        if mechanism != "CRAM-MD5" && !session.is_private() {
            let cause = "a password is not sent in plain text beyond this host";
            return Err(session.server().unreachable(cause));
        }
        let secret = source.read()?;
        return talk(session, login, mechanism, secret.reveal()).await;
    }
    let cause = format!("it offers AUTH {offered}, and none of these has its secret here");
    Err(session.server().unreachable(cause))
}

async fn talk(
    session: &mut Session<'_>,
    login: &Login,
    mechanism: &str,
    secret: &str,
) -> Result<(), NotifyError> {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let mut reply = match mechanism {
        "PLAIN" => {
            let text = format!(
                "{}\0{}\0{secret}",
                login.identity.as_deref().unwrap_or(""),
                login.username
            );
            session.ask(&format!("AUTH PLAIN {}", encode(&text))).await?
        }
        other => session.ask(&format!("AUTH {other}")).await?,
    };
    let answers = match mechanism {
        "LOGIN" => vec![login.username.clone(), secret.to_owned()],
        "CRAM-MD5" => {
            let challenge = BASE64_STANDARD.decode(reply.first()).unwrap_or_default();
            vec![format!("{} {}", login.username, hmac_md5(secret.as_bytes(), &challenge))]
        }
        _ => Vec::new(),
    };
    for answer in answers {
        if reply.code() != 334 {
            break;
        }
        reply = session.ask(&encode(&answer)).await?;
    }
    // A wrong password may be put right in the meantime: not a refusal of the message.
    reply.or_later(session.server(), "login", 235).map(drop)
}

/// RFC 2104 with MD5, in hexadecimal: what CRAM-MD5 answers a challenge with.
fn hmac_md5(key: &[u8], text: &[u8]) -> String {
    const BLOCK: usize = 64;
    let key = match key.len() > BLOCK {
        true => md5::compute(key).to_vec(),
        false => key.to_vec(),
    };
    let padded = |with: u8| {
        let bytes = key.iter().copied().chain(std::iter::repeat(0)).take(BLOCK);
        bytes.map(|byte| byte ^ with).collect::<Vec<u8>>()
    };
    let inner = md5::compute([padded(0x36).as_slice(), text].concat());
    format!("{:x}", md5::compute([padded(0x5c).as_slice(), &inner.0].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cram_md5_as_the_rfcs_have_it() {
        for (key, text, want) in [
            // RFC 2195
            (
                "tanstaaftanstaaf".as_bytes().to_vec(),
                "<1896.697170952@postoffice.reston.mci.net>",
                "b913a602c7eda7a495b4e6e7334d3890",
            ),
            // RFC 2202: a key longer than a block
            (
                vec![0xaa; 80],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            ),
        ] {
            assert_eq!(hmac_md5(&key, text.as_bytes()), want);
        }
    }
}
