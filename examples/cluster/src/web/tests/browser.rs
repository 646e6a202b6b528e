//! The page in a real browser.

use std::process::Stdio;

use tokio::process::Command;

/// The browsers that are looked for. Without one the test is left out.
const BROWSERS: [&str; 2] = ["chromium", "google-chrome"];

/// Flags with which a browser runs anywhere, and asks nobody else.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=8000",
    "--dump-dom",
];

/// Returns the page at an address, which may have a name and a password, as a browser with a profile
/// of its own shows it. `None` without a browser.
pub async fn page_at(address: &str, profile: &str) -> Option<String> {
    let profile = std::env::temp_dir().join(format!("cluster-browser-{}-{profile}", std::process::id()));
    for browser in BROWSERS {
        let output = Command::new(browser)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://{address}/?poll"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        if let Ok(output) = output {
            let _ = std::fs::remove_dir_all(&profile);
            return Some(String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    None
}

/// Returns the text of the element with an id, without the elements in it.
pub fn text_of<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("id=\"{id}\"")).expect("an element with this id");
    let (_, text) = page[start..].split_once('>').expect("the end of a tag");
    text.split_once('<').expect("another tag").0
}
