//! Every dependency's licence is permissive, and there is one TLS provider.

use std::collections::BTreeSet;

use pitcrew_tests::programs::workspace;

/// Licences that ask for no more than a notice.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that would bring a second crypto provider, OpenSSL, protoc or a native TLS stack.
const UNWANTED: &[&str] =
    &["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "prost-build", "rsa"];

/// Name and licence of every package that a build takes in, tests and build scripts included.
async fn packages() -> BTreeSet<(String, String)> {
    let output = tokio::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--edges=all", "--prefix=none"])
        .args(["--format={p}|{l}"])
        .current_dir(workspace())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    let name = |package: &str| package.split(' ').next().unwrap_or(package).to_owned();
    pairs.map(|(package, licence)| (name(package), licence.to_owned())).collect()
}

/// Whether a licence expression can be met with permissive licences alone.
fn permissive(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    // "A AND B OR C" appears only as "(A OR B) AND C"; every AND part needs one permissive choice.
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| PERMISSIVE.contains(&one.trim())))
}

#[tokio::test]
async fn dependencies_are_permissive_and_have_one_tls_provider() {
    let packages = packages().await;
    assert!(packages.len() > 100, "only {} packages: the list is not whole", packages.len());
    let refused: Vec<_> = packages.iter().filter(|(_, licence)| !permissive(licence)).collect();
    assert!(refused.is_empty(), "not permissive: {refused:?}");
    let unwanted: Vec<_> =
        packages.iter().filter(|(name, _)| UNWANTED.contains(&name.as_str())).collect();
    assert!(unwanted.is_empty(), "not wanted: {unwanted:?}");
}

#[test]
fn copyleft_is_not_permissive() {
    for (expression, want) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("GPL-3.0-only", false),
        ("MIT AND MPL-2.0", false),
        ("none", false),
    ] {
        assert_eq!(permissive(expression), want, "{expression}");
    }
}
