hostname = "mail.example.org" # greetings, EHLO, Received
data     = "var"              # all state; relative to this file
trusted  = []                 # networks whose Received lines are trusted

smtp "inbound" {
  listen = ["127.0.0.1:2525"]
  chain  = "inbound"
}
smtp "submission" {
  listen = ["127.0.0.1:2587"]
  auth   = "required"
  chain  = "outbound"
}
smtp "devices" { # printers, cron: no AUTH, by network
  listen     = ["127.0.0.1:2526"]
  relay_from = ["127.0.0.0/8"]
  bare       = "fix"
  chain      = "outbound"
}
lmtp "local" {
  listen = ["unix:lmtp.sock"]
  chain  = "inbound"
}
pop3 "pop3" {
  listen = ["127.0.0.1:2110"]
}
imap "imap" {
  listen = ["127.0.0.1:2143"]
}
web "web" {
  listen = ["127.0.0.1:8025"]
}

chain "inbound" {
  filter "size" {
    max = "25MiB"
  }
  filter "hops" {
    max = 50
  }
  filter "smime" {
    only = ["example.org"] # recipients' domains it applies to
  }
  route "here" {
    to  = ["local", "example.org"] # local = hostname and localhost
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
    relay = true # no other client passes by the filters of "inbound"
    hop   = "boxes"
  }
  route "out" {
    relay = true
    hop   = "internet"
  }
}

maildrop "boxes" {
  path = "mail/{domain}/{user}" # a Maildir each, under data
}
upstream "old-server" {
  servers = ["smtp://192.0.2.10:25"]
  mode    = "auto" # inline | queue | auto
}
upstream "internet" {
  mx   = true
  mode = "queue"
}
