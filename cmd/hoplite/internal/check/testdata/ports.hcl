hostname = "mail.example.org"
smtp "submissions" {
  listen = ["127.0.0.1:25", "127.0.0.1:465"]
  tls    = "implicit"
  chain  = "inbound"
}
imap "imap" {
  listen = ["127.0.0.1:143", "127.0.0.1:993"]
  tls    = "starttls"
}
pop3 "pop3" {
  listen = ["127.0.0.1:110", "127.0.0.1:995"]
}
chain "inbound" {
  route "here" {
    to  = ["example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
