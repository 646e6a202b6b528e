//! Orders of pages of other sites.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

use crate::web::error::ApiError;
use crate::web::orders::order;

#[test]
fn orders_of_other_sites_are_refused() {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("127.0.0.1:8080"));
    // A program names no site.
    assert!(order("worker-1", &headers).is_ok());
    headers.insert(ORIGIN, HeaderValue::from_static("http://127.0.0.1:8080"));
    assert!(order("worker-1", &headers).is_ok());
    for origin in ["https://example.com", "http://127.0.0.1:9090", "null"] {
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        assert_eq!(order("worker-1", &headers), Err(ApiError::OtherSite));
    }
}
