//! Reading files of other systems: what is understood, what is refused, and that no reason has a secret in it.

use tok_model::import::ImportFormat;
use tok_model::kind::Permission;

use super::entry::{Entry, Reach, Secret, read};

const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfOJMx7nQ9xDmrKxUumJvgQj/gsyjft4OO";
const WIT: &str = "wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0";

fn entries(format: ImportFormat, content: &str) -> Vec<Entry> {
    read(format, content).unwrap_or_else(|why| panic!("{format}: {why}"))
}

/// One word a fact, so that a whole file can be compared.
fn told(entry: &Entry) -> String {
    let said = match &entry.said {
        Ok(said) => said,
        Err(why) => return format!("{} {:?} refused: {why}", entry.line, entry.name),
    };
    let secret = match &said.secret {
        Secret::Random { shown, .. } => format!("random {shown}"),
        Secret::Chosen(_) => "chosen".to_owned(),
        Secret::Bcrypt(_) => "bcrypt".to_owned(),
    };
    let reach = match &said.reach {
        Reach::Personal { scopes, routes } => format!(
            "scopes {} routes {}",
            scopes.as_ref().map_or("-".to_owned(), |scopes| scopes.join("+")),
            routes.as_ref().map_or("-".to_owned(), |routes| routes.join("+"))
        ),
        Reach::Workspace { permission, repos } => format!(
            "{} {}",
            if *permission == Permission::Write { "write" } else { "read" },
            repos.as_ref().map_or("all".to_owned(), |repos| repos.join("+"))
        ),
    };
    let user = said.user.as_deref().or(said.namesake.as_deref()).unwrap_or("-");
    let end = if said.expires.is_some() { "ends" } else { "-" };
    format!("{} {:?} {user} {reach} {end} {secret}", entry.line, entry.name)
}

fn all(format: ImportFormat, content: &str) -> Vec<String> {
    entries(format, content).iter().map(told).collect()
}

#[test]
fn wit_in_json_and_in_csv() {
    let json = format!(
        r#"[{{"name":"CI","token":"{WIT}","scopes":["repo:read","repo:write"],"expires":"2027-04-15"}},
            {{"name":"Deploy","sha256":"{SHA256}","scopes":"repo:read","user":"ann","id":"abc12345"}}]"#
    );
    let same = [
        "1 \"CI\" - scopes repo:read+repo:write routes - ends random wit_a1b2",
        "2 \"Deploy\" ann scopes repo:read routes - - random wit_",
    ];
    assert_eq!(all(ImportFormat::Wit, &json), same);
    assert_eq!(all(ImportFormat::Wit, &format!("{{\"tokens\":{json}}}")), same);
    let csv = format!(
        "\u{feff}name,token,sha256,scopes,expires,user\r\nCI,{WIT},,\"repo:read, repo:write\",2027-04-15,\r\n\r\nDeploy,,{SHA256},repo:read,Never,ann\r\n\"a \"\"b\"\"\",{WIT},,,,\n"
    );
    assert_eq!(
        all(ImportFormat::Wit, &csv),
        [
            same[0].replacen("1 ", "2 ", 1),
            same[1].replacen("2 ", "4 ", 1),
            "5 \"a \\\"b\\\"\" - scopes - routes - - random wit_a1b2".to_owned()
        ]
    );
}

#[test]
fn githosted_keeps_kind_permission_and_allowlist() {
    let json = r#"{"tokens":[
        {"name":"all","kind":"workspace","token":"gw_0123456789abcdef0123","prefix":"gw","expiresAt":null},
        {"name":"ci-deploy","kind":"repo","permission":"read","repoAllowlist":["deploy-configs","metrics"],"hash":"HASH","expiresAt":"2027-01-01T00:00:00Z"},
        {"token":"gr_0123456789abcdef0123","record":{"name":"fresh","kind":"repo","permission":"write","repoAllowlist":["app"],"createdByName":"ann"}},
        {"name":"old","revokedAt":"2026-01-01T00:00:00Z","token":"gw_0123456789abcdef0123"},
        {"name":"half","kind":"repo","token":"gr_0123456789abcdef0123"}
    ]}"#
    .replace("HASH", SHA256);
    assert_eq!(
        all(ImportFormat::Githosted, &json),
        [
            "1 \"all\" - write all - random gw_0123",
            "2 \"ci-deploy\" - read deploy-configs+metrics ends random gr_",
            "3 \"fresh\" - write app - random gr_0123",
            "4 \"old\" refused: it was revoked there",
            "5 \"half\" refused: a repo token needs its repoAllowlist",
        ]
    );
}

#[test]
fn reposilite_as_its_export_writes_it_and_as_its_guide_does() {
    let exported = r#"[
        {"accessToken":{"identifier":{"type":"PERSISTENT","value":1},"name":"root","encryptedSecret":"HASH","createdAt":"2024-01-01","description":"","expiresAt":null},
         "permissions":[{"identifier":"access-token:manager","shortcut":"m"}],"routes":[]},
        {"accessToken":{"identifier":{"type":"PERSISTENT","value":2},"name":"ci","encryptedSecret":"HASH","createdAt":"2024-01-01","description":"of acme"},
         "permissions":[],"routes":[{"path":"/acme/app","permission":{"identifier":"route:read","shortcut":"r"}},
                                    {"path":"/acme/app","permission":{"identifier":"route:write","shortcut":"w"}},
                                    {"path":"/libs","permission":{"identifier":"route:read","shortcut":"r"}},
                                    {"path":"/","permission":"r"}]}
    ]"#
    .replace("HASH", BCRYPT);
    assert_eq!(
        all(ImportFormat::Reposilite, &exported),
        [
            "1 \"root\" - scopes manager routes - - bcrypt",
            "2 \"ci\" - scopes repo:write routes **:r+acme/app:rw+libs/**:r - bcrypt",
        ]
    );
    let guide = r#"[
        {"identifier":{"type":"PERSISTENT","value":3},"name":"bare","secret":"a-chosen-secret","permissions":[],"routes":[]},
        {"identifier":{"type":"TEMPORARY","value":0},"name":"boot","secret":"x","permissions":["MANAGER"],"routes":[]},
        {"name":"deep","secret":"s","routes":[{"path":"/a/b/c","permission":"READ"}]},
        {"name":"odd","secret":"s","permissions":["OWNER"]}
    ]"#;
    assert_eq!(
        all(ImportFormat::Reposilite, guide),
        [
            "1 \"bare\" - scopes - routes - - chosen",
            "2 \"boot\" refused: it is temporary: give it to `tokd --token-file` instead",
            "3 \"deep\" refused: a route reaches into a repository; here whole repositories are reached, as /workspace/repository",
            "4 \"odd\" refused: it has a permission that is not MANAGER, the only one there is",
        ]
    );
}

#[test]
fn nitro_and_wick_can_do_whatever_their_owner_can() {
    let nitro = format!(
        r#"[{{"id":"pat_1","description":"laptop","expiresAt":"2027-01-01","secret":"abcdefghijklmnopqrstuvwxyz"}},
            {{"id":"pat_2","description":"ci","hash":"{SHA256}"}}]"#
    );
    assert_eq!(
        all(ImportFormat::Nitro, &nitro),
        ["1 \"laptop\" - scopes all routes - ends random abcd", "2 \"ci\" - scopes all routes - - random nitro_"]
    );
    let same = "\"laptop\" ann scopes all routes - - random wick_pat_";
    let lines = format!("# name, user, hash\n\nlaptop\tann\t{SHA256}\nno tabs\n");
    assert_eq!(
        all(ImportFormat::Wick, &lines),
        [
            format!("3 {same}"),
            "4 \"\" refused: it is not a name, a user and a SHA-256 with a tab between each".to_owned()
        ]
    );
    let json = format!(r#"[{{"name":"laptop","user":"ann","sha256":"{SHA256}"}}]"#);
    assert_eq!(all(ImportFormat::Wick, &json), [format!("1 {same}")]);
}

#[test]
fn htpasswd_takes_bcrypt_and_says_why_not_the_others() {
    let lines = format!(
        "# people\nann:{BCRYPT}\nbob:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy\ncid:{{SHA}}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\ndan:$6$salt$hash\neve:plain\nfay\ngil:{}\n",
        BCRYPT.replace("$05$", "$17$")
    );
    let told = all(ImportFormat::Htpasswd, &lines);
    assert_eq!(told[0], "2 \"ann\" ann scopes - routes - - bcrypt");
    for (line, words) in
        told[1..].iter().zip(["MD5", "SHA-1", "SHA-crypt", "password itself", "not name:hash", "cost is 17"])
    {
        assert!(line.contains("refused") && line.contains(words), "{line}");
    }
    assert!(told.iter().all(|line| !line.contains("plain") && !line.contains("yyyy")), "{told:?}");
}

#[test]
fn a_bad_entry_is_named_by_its_field_and_never_repeats_a_secret() {
    let canary = "canary-secret-canary-secret";
    for (format, entry, says) in [
        (ImportFormat::Wit, r#"{"name":"a","token":"CANARY","colour":"red"}"#, "\"colour\""),
        (ImportFormat::Wit, r#"{"name":"a","token":["CANARY"]}"#, "\"token\" must be text"),
        (ImportFormat::Wit, r#"{"name":"a"}"#, "neither its text nor"),
        (ImportFormat::Wit, r#"{"name":"a","token":"CANARY","hash":"CANARY"}"#, "both"),
        (ImportFormat::Wit, r#"{"name":"a","hash":"CANARY"}"#, "64 hexadecimal"),
        (ImportFormat::Wit, r#"{"name":"a","token":"CANARY x"}"#, "characters in it"),
        (ImportFormat::Wit, r#"{"name":"a","token":"tokpat_CANARY"}"#, "a tok token's"),
        (ImportFormat::Wit, r#"{"name":"a","token":"CANARY","expires":"soon"}"#, "no date"),
        (ImportFormat::Wit, r#"{"name":"a","token":"CANARY","expires":"90"}"#, "a number"),
        (ImportFormat::Wit, r#"{"token":"CANARY"}"#, "\"name\" is missing"),
        (ImportFormat::Wit, r#""CANARY""#, "no JSON object"),
        (ImportFormat::Githosted, r#"{"name":"a","token":"CANARY","permission":"CANARY"}"#, "neither read nor write"),
        (
            ImportFormat::Githosted,
            r#"{"name":"a","token":"CANARY","record":{"name":"b","token":"CANARY"}}"#,
            "not known here",
        ),
        (ImportFormat::Nitro, r#"{"id":"a","secret":"CANARY"}"#, "\"description\" is missing"),
        (ImportFormat::Reposilite, r#"{"name":"a","encryptedSecret":"CANARY"}"#, "no whole bcrypt hash"),
        (ImportFormat::Reposilite, r#"{"name":"a","secret":"CANARY","encryptedSecret":"CANARY"}"#, "both"),
    ] {
        let entry = entry.replace("CANARY", canary);
        // The good one beside it stays good.
        let good = match format {
            ImportFormat::Nitro => r#"{"description":"good","secret":"0123456789abcdef"}"#,
            ImportFormat::Reposilite => r#"{"name":"good","secret":"x"}"#,
            _ => r#"{"name":"good","token":"0123456789abcdef"}"#,
        };
        let told = all(format, &format!("[{entry},{good}]"));
        assert!(told[0].contains(says), "{entry}: {}", told[0]);
        assert!(!told[0].contains(canary), "{}", told[0]);
        assert!(!told[1].contains("refused"), "{}", told[1]);
    }
    for (format, content) in [
        (ImportFormat::Wit, "{\"name\": \"CANARY"),
        (ImportFormat::Wit, "CANARY"),
        (ImportFormat::Wit, "name,CANARY\n"),
        (ImportFormat::Nitro, "\"CANARY\""),
        (ImportFormat::Githosted, "{\"CANARY\": 1}"),
    ] {
        let why = read(format, &content.replace("CANARY", canary)).err().unwrap();
        assert!(!why.contains(canary), "{why}");
    }
}
