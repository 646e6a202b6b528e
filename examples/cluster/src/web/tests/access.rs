//! Requests with and without the token, and under other names.

use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Server;
use super::double::Double;
use crate::operator::{OperatorCommand, OperatorOptions, execute};
use crate::protocol::security::TokenOption;
use crate::protocol::token::Token;
use crate::web::Access;

/// `user:secret` and `user:other`, as a browser sends them.
const PASSWORD: &str = "authorization: Basic dXNlcjpzZWNyZXQ=\r\n";
const OTHER_PASSWORD: &str = "authorization: Basic dXNlcjpvdGhlcg==\r\n";

/// Returns a file with a token, and the token.
fn token_file(name: &str) -> (TokenOption, Token) {
    let file = std::env::temp_dir().join(format!("cluster-token-{}-{name}", std::process::id()));
    std::fs::write(&file, "secret\n").unwrap();
    let token = Token::read(&file).unwrap();
    let token_file = Some(file);
    (TokenOption { token_file }, token)
}

/// Sends a request by hand, and returns the head of the answer.
async fn head(server: &Server, request: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split("\r\n\r\n").next().unwrap().to_owned()
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn with_a_token_every_route_but_health_needs_it() {
    let (option, token) = token_file("routes");
    let server = Server::start_with(&Double::leading(), Access::new(Some(token))).await;
    let host = format!("host: {}\r\n", server.address);
    for path in [
        "/",
        "/js/app.js",
        "/leader",
        "/metrics",
        "/api/overview",
        "/api/stream",
        "/nowhere",
    ] {
        let answer = head(&server, &format!("GET {path}"), &host).await;
        assert_eq!(status(&answer), "401", "{path}");
        assert!(answer.to_lowercase().contains("www-authenticate: basic"), "{answer}");
    }
    let order = "POST /api/task-managers/worker-1/block";
    assert_eq!(status(&head(&server, order, &host).await), "401");
    assert_eq!(status(&head(&server, "GET /health", &host).await), "200");

    let authorized = |authorization: &str| format!("{host}{authorization}");
    let bearer = "authorization: Bearer secret\r\n";
    for (authorization, expected) in [
        (bearer, "200"),
        (PASSWORD, "200"),
        (OTHER_PASSWORD, "401"),
        ("authorization: Bearer secret1\r\n", "401"),
        ("authorization: Basic ???\r\n", "401"),
    ] {
        let answer = head(&server, "GET /api/overview", &authorized(authorization)).await;
        assert_eq!(status(&answer), expected, "{authorization}");
    }
    assert_eq!(status(&head(&server, order, &authorized(bearer)).await), "200");
    // A browser adds the password to the forms of other sites, too.
    let other_site = format!("{}origin: https://example.com\r\n", authorized(PASSWORD));
    assert_eq!(status(&head(&server, order, &other_site).await), "403");
    server.stop().await;
    std::fs::remove_file(option.token_file.unwrap()).unwrap();
}

#[tokio::test]
async fn commands_of_operators_send_the_token() {
    let (option, token) = token_file("operators");
    let server = Server::start_with(&Double::leading(), Access::new(Some(token))).await;
    let options = |token| OperatorOptions {
        web: vec![server.address.clone()],
        token,
    };
    let status = execute(OperatorCommand::Status(options(option.clone()))).await.unwrap();
    assert!(status.contains("epoch 7"), "{status}");
    let error = execute(OperatorCommand::Status(options(TokenOption::default()))).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the token of the cluster is needed"), "{error}");
    server.stop().await;
    std::fs::remove_file(option.token_file.unwrap()).unwrap();
}

#[tokio::test]
async fn without_a_token_names_of_other_sites_are_refused() {
    let server = Server::start(&Double::leading()).await;
    for (host, expected) in [
        ("127.0.0.1:8080", "200"),
        ("localhost", "200"),
        ("[::1]:8080", "200"),
        ("example.com", "403"),
        ("example.com:8080", "403"),
        ("127.0.0.1.example.com", "403"),
        ("10.0.0.1", "403"),
    ] {
        let answer = head(&server, "GET /api/overview", &format!("host: {host}\r\n")).await;
        assert_eq!(status(&answer), expected, "{host}");
    }
    let (health, _) = crate::operator::client::exchange(&server.address, &Method::GET, "/health", None)
        .await
        .unwrap();
    assert_eq!(health, StatusCode::OK);
    server.stop().await;
}
