hostname = "mail.example.org"
imap "imap" {
  listen = ["127.0.0.1:0"]
}
maildrop "boxes" {
  path = "mail/{user}"
}
maildrop "strict" {
  path        = "mail/./{user}"
  quota_reply = "reject"
}
