//! Options as the command line gives them, for tests.

use clap::{Args, Command};

/// Parses the options of a command.
///
/// # Errors
/// As for a user: an argument is not understood, or one is missing.
pub fn parse<O: Args>(arguments: impl IntoIterator<Item = impl AsRef<str>>) -> Result<O, clap::Error> {
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    let command = O::augment_args(Command::new("cluster"));
    let matches = command.try_get_matches_from(std::iter::once("cluster".to_owned()).chain(arguments))?;
    O::from_arg_matches(&matches)
}
