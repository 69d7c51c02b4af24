//! Reads the stream of agents' events from where the last scrape stopped.

use redis::Value;

use super::{AgentEvents, Life};
use crate::collectors::redis::connect::Session;
use crate::collectors::redis::problem::{Problem, reason};
use crate::collectors::redis::reply::{Id, list, text};

/// Entries for one command, commands for one scrape: what is more is read by the next ones.
const AT_ONCE: usize = 200;
const ROUNDS: usize = 25;
/// At the first look, so many of the last entries tell who is there.
const HISTORY: usize = 2000;

/// Takes what is new; the inner error is why the stream cannot be read.
pub(in crate::collectors::redis) async fn follow(
    words: &AgentEvents,
    session: &mut Session,
    life: &mut Life,
    now: f64,
) -> Result<Result<(), &'static str>, Problem> {
    let odd = || Problem::Protocol(format!("entries of {} are none", words.stream));
    if life.read.is_none() {
        let mut pipe = redis::pipe();
        pipe.cmd("XREVRANGE").arg(&words.stream).arg("+").arg("-").arg("COUNT").arg(HISTORY);
        match session.ask(&pipe).await?.first() {
            Some(Value::ServerError(error)) => return Ok(Err(reason(error))),
            Some(reply) => {
                let entries = list(reply).ok_or_else(odd)?;
                for entry in entries.iter().rev() {
                    let (id, fields) = read(entry).ok_or_else(odd)?;
                    life.take(words, id, &fields, false);
                }
                life.read = life.read.or(Some(Id::default()));
            }
            None => return Err(odd()),
        }
    }
    for _ in 0..ROUNDS {
        let after = life.read.unwrap_or_default().next().to_string();
        let mut pipe = redis::pipe();
        pipe.cmd("XRANGE").arg(&words.stream).arg(after).arg("+").arg("COUNT").arg(AT_ONCE);
        let replies = session.ask(&pipe).await?;
        let entries = match replies.first() {
            Some(Value::ServerError(error)) => return Ok(Err(reason(error))),
            reply => reply.and_then(list).ok_or_else(odd)?,
        };
        for entry in entries {
            let (id, fields) = read(entry).ok_or_else(odd)?;
            life.take(words, id, &fields, true);
        }
        if entries.len() < AT_ONCE {
            break;
        }
    }
    life.expire(now);
    Ok(Ok(()))
}

/// The id and the fields of an entry; what is not UTF-8 among them is left out.
fn read(entry: &Value) -> Option<(Id, Vec<(String, String)>)> {
    let [id, fields] = list(entry)? else { return None };
    let pairs = list(fields)?
        .chunks_exact(2)
        .filter_map(|pair| Some((text(&pair[0])?.to_owned(), text(&pair[1])?.to_owned())));
    Some((Id::parse(text(id)?)?, pairs.collect()))
}
