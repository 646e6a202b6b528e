//! Tests of the web server against a real slot manager with doubles.

mod double;
mod show_page;
