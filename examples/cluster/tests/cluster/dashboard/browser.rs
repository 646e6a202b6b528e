//! Pages as a browser without a window shows them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Flags with which the browser runs anywhere, and asks nobody else. The time of the page is its
/// own: it runs as fast as it can, for 5 seconds of that time.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=5000",
];

/// The time after which a browser hangs. It takes one or two seconds; some, rarely, never end.
const PATIENCE: Duration = Duration::from_secs(25);

/// A page, as the browser shows it.
pub struct Page(String);

/// A task manager on the page.
pub struct Card {
    pub id: String,
    /// The states of its slots, in words.
    pub slots: String,
    pub is_troubled: bool,
    /// The bars of a dynamic worker.
    pub bars: Vec<Bar>,
}

/// A bar that shows one resource of a dynamic worker.
#[derive(Debug)]
pub struct Bar {
    pub resource: String,
    pub parts: Vec<Part>,
}

/// A part of a bar.
#[derive(Debug)]
pub struct Part {
    /// The class that gives the part its colour.
    pub state: String,
    pub title: String,
    /// Its width, in hundredths of the bar.
    pub percent: f64,
}

impl Page {
    pub fn html(&self) -> &str {
        &self.0
    }

    /// Returns the first text in the element with an id.
    pub fn text(&self, id: &str) -> String {
        text_after(&self.0, &format!("id=\"{id}\""))
    }

    /// Returns the heading in the element with an id.
    pub fn heading(&self, id: &str) -> String {
        let (_, rest) = self.0.split_once(&format!("id=\"{id}\"")).expect("an element");
        text_after(rest, "<h2")
    }

    pub fn cards(&self) -> Vec<Card> {
        let cards = self.0.split("<li class=\"card").skip(1);
        cards
            .map(|card| Card {
                id: attribute(card, "data-key"),
                slots: attribute(card, "aria-label"),
                is_troubled: card.starts_with(" troubled"),
                bars: bars(card),
            })
            .collect()
    }
}

/// Returns the text after the tag that has a part.
fn text_after(html: &str, part: &str) -> String {
    let (_, rest) = html.split_once(part).unwrap_or_else(|| panic!("no {part} on the page"));
    let (_, text) = rest.split_once('>').expect("the end of a tag");
    text.split('<').next().unwrap_or_default().trim().to_owned()
}

/// Returns the bars of a card.
fn bars(card: &str) -> Vec<Bar> {
    let card = card.split("</li>").next().unwrap_or_default();
    let bars = card.split("<div class=\"bar\" data-resource").skip(1);
    bars.map(|bar| {
        let (bar, _) = bar.split_once("</div>").expect("the end of a bar");
        let parts = bar.split("<span class=\"slot ").skip(1).map(|part| Part {
            state: part.split('"').next().unwrap_or_default().to_owned(),
            title: attribute(part, "title"),
            percent: style(part, "flex-grow"),
        });
        Bar {
            resource: bar.split('"').nth(1).unwrap_or_default().to_owned(),
            parts: parts.collect(),
        }
    })
    .collect()
}

/// Returns the number of a property in the style of an element.
fn style(html: &str, property: &str) -> f64 {
    let style = attribute(html, "style");
    let (_, value) = style.split_once(&format!("{property}: ")).expect("a property");
    let value = value.split([';', ' ']).next().unwrap_or_default();
    value.parse().expect("a number")
}

fn attribute(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!("{name}=\"")).expect("an attribute");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// Returns the page at an address; `None` if the browser hangs or fails.
pub fn dump_dom(folder: &Path, address: &str) -> Option<Page> {
    let html = run(folder, &["--dump-dom", address])?;
    html.contains("</html>").then_some(Page(html))
}

/// Writes a picture of the page at an address.
///
/// # Panics
/// If the browser hangs or fails, three times.
pub fn take_screenshot(folder: &Path, address: &str, file: &Path) {
    let to_file = format!("--screenshot={}", file.display());
    for _ in 0..3 {
        run(folder, &["--window-size=1280,1100", &to_file, address]);
        if std::fs::read(file).is_ok_and(|image| image.starts_with(b"\x89PNG") && image.len() > 10_000) {
            return;
        }
    }
    panic!("no screenshot of {address}");
}

/// Runs the browser. Returns its output; `None` if it hangs or fails.
fn run(folder: &Path, arguments: &[&str]) -> Option<String> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("a writable folder");
    let output = folder.join("output");
    let mut browser = Command::new("chromium")
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(&output).expect("a writable folder"))
        .stderr(Stdio::null())
        // It has processes of its own, which must end with it.
        .process_group(0)
        .spawn()
        .ok()?;
    let start = Instant::now();
    let status = loop {
        match browser.try_wait().expect("a child") {
            Some(status) => break Some(status),
            None if start.elapsed() > PATIENCE => break None,
            None => sleep(Duration::from_millis(20)),
        }
    };
    if status.is_none() {
        println!("the browser hangs, and is killed");
        let group = format!("-{}", browser.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = browser.wait();
    }
    status.filter(|status| status.success())?;
    std::fs::read_to_string(&output).ok()
}
