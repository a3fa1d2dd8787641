hostname = "mail.example.org"
smtp "inbound" {
  listen = ["127.0.0.1:2525"]
  chain  = "inbound"
}
smtp "submission" {
  listen = ["127.0.0.1:2587"]
  auth   = "required"
  chain  = "outbound"
}
smtp "devices" {
  listen     = ["127.0.0.1:2526"]
  relay_from = ["127.0.0.0/8"]
  chain      = "outbound"
}
lmtp "local" {
  listen = ["unix:lmtp.sock"]
  chain  = "inbound"
}
chain "inbound" {
  filter "size" {
    max = "25MiB"
  }
  filter "smime" {
    only = ["example.org"]
  }
  route "here" {
    to  = ["local", "example.org"]
    hop = "boxes"
  }
  route "legacy" {
    to  = ["legacy.example"]
    hop = "old-server"
  }
}
chain "outbound" {
  route "here" {
    to    = ["local", "example.org"]
    relay = true
    hop   = "boxes"
  }
  route "out" {
    relay = true
    hop   = "internet"
  }
}
maildrop "boxes" {}
upstream "old-server" {
  servers = ["smtp://192.0.2.10:25"]
  mode    = "auto"
}
upstream "internet" {
  mx   = true
  mode = "queue"
}
