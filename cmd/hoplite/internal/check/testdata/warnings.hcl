hostname = "mail.example.org"
smtp "inbound" {
  listen = ["127.0.0.1:2525"]
  tls    = "off"
  chain  = "inbound"
}
chain "inbound" {
}
chain "spare" {
  route "here" {
    to  = ["example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
