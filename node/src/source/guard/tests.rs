use super::*;

#[test]
fn it_says_what_is_refused_and_what_would_allow_it() {
    let url = |text: &str| Url::parse(text).unwrap();
    let refusal = Guard::default().check_url(&url("http://0x7f.1/")).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "127.0.0.1:80 is a loopback address; to let sources reach it, start the node with --allow-private-sources 127.0.0.1:80"
    );
}
