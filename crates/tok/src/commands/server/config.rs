//! `tok server config`.

use clap::Args;
use tok_api::convert::{Setting, Settings};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Show what the daemon is set up with, as far as you may know it
///
/// Keys are those of tokd.toml(5), values are what is in effect: how long tokens of each kind live by default and at most,
/// and how long they may rest, is shown to everybody, the rest to managers. Secrets are shown to nobody.
///
/// Examples:
///
///     $ tok server config
///     $ tok server config --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ConfigArgs {}

impl ConfigArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let status = context.client().await?.server_status().await?;
        context.out.show(&Named("config", &status.settings), || text(&status.settings))
    }
}

fn text(settings: &Settings) -> String {
    let lines = settings.iter().map(|(key, value)| format!("{} = {}\n", safe(key), written(value)));
    lines.collect::<Vec<_>>().concat()
}

/// A value as the file has it.
fn written(value: &Setting) -> String {
    let quoted = |text: &String| format!("\"{}\"", safe(text));
    match value {
        Setting::Text(text) => quoted(text),
        Setting::Number(number) => number.to_string(),
        Setting::Flag(flag) => flag.to_string(),
        Setting::Texts(texts) => format!("[{}]", texts.iter().map(quoted).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_like_the_file() {
        let settings = Settings::from([
            ("tokens.git_lifetime".to_owned(), Setting::Text("15m".to_owned())),
            ("store".to_owned(), Setting::Text("embedded".to_owned())),
            ("server.max_connections".to_owned(), Setting::Number(1024)),
            ("server.behind_proxy".to_owned(), Setting::Flag(false)),
            ("server.aliases".to_owned(), Setting::Texts(vec!["https://a".to_owned(), "https://b".to_owned()])),
        ]);
        assert_eq!(
            text(&settings),
            "server.aliases = [\"https://a\", \"https://b\"]\nserver.behind_proxy = false\n\
             server.max_connections = 1024\nstore = \"embedded\"\ntokens.git_lifetime = \"15m\"\n"
        );
    }
}
