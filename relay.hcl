hostname = "mail.example.org" # greetings, EHLO, Received
data     = "var"              # everything we keep; relative to this file

smtp "inbound" {
  listen = ["127.0.0.1:2525"]
  chain  = "inbound"
}
smtp "submission" {
  listen = ["127.0.0.1:2587"]
  auth   = "required"
  chain  = "inbound"
}
lmtp "local" {
  listen = ["unix:lmtp.sock"]
  chain  = "inbound"
}
pop3 "pop3" {
  listen = ["127.0.0.1:2110"]
}

chain "inbound" {
  filter "size" {
    max = "25MiB"
  }
  filter "hops" {
    max = 50
  }
  route "here" {
    to  = ["local", "example.org"] # local = hostname and localhost
    hop = "boxes"
  }
}

maildrop "boxes" {
  path = "mail/{domain}/{user}" # a Maildir each, under data
}
