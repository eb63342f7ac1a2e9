//! `tok user`.

mod create;
mod delete;
mod disable;
mod enable;
mod list;
mod passwd;
mod show;

use clap::Subcommand;

pub(super) use self::show::places;
use crate::context::Context;
use crate::exit::Failure;

/// Where to look when a name is unknown.
const LOOK_IN_LIST: &str = "`tok user list` shows every user";

/// Make, list and end users (managers only), and set passwords
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    Create(create::CreateArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Show(show::ShowArgs),
    Passwd(passwd::PasswdArgs),
    Disable(disable::DisableArgs),
    Enable(enable::EnableArgs),
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
}

impl UserCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
            Self::Show(arguments) => arguments.run(context).await,
            Self::Passwd(arguments) => arguments.run(context).await,
            Self::Disable(arguments) => arguments.run(context).await,
            Self::Enable(arguments) => arguments.run(context).await,
            Self::Delete(arguments) => arguments.run(context).await,
        }
    }
}
