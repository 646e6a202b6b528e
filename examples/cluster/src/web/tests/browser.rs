//! The page in a real browser shows what the REST interface says.

use std::process::Stdio;

use tokio::process::Command;

use super::Server;
use super::double::Double;

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

/// Returns the page as a browser shows it; `None` without a browser.
async fn page_of(server: &Server) -> Option<String> {
    page_at(&server.address, "rest").await
}

/// The same for an address, which may have a name and a password, in a profile of its own.
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

#[tokio::test]
async fn page_shows_what_rest_says() {
    let double = Double::leading();
    double.fill(100);
    let server = Server::start(&double).await;
    let Some(page) = page_of(&server).await else {
        println!("left out: neither of {BROWSERS:?} is installed");
        return;
    };

    let (_, numbers) = server.get("/api/overview").await;
    let slots = &numbers["overview"]["slots"];
    assert_eq!(text_of(&page, "epoch"), numbers["epoch"].to_string());
    assert_eq!(text_of(&page, "registered"), slots["registered"]["slots"].to_string());
    assert_eq!(
        text_of(&page, "task-managers-count"),
        numbers["overview"]["task_managers"].to_string()
    );
    assert_eq!(
        text_of(&page, "requests-count"),
        numbers["overview"]["pending_requests"].to_string()
    );
    server.stop().await;
}
