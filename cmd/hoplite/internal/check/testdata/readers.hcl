hostname = "mail.example.org"
dns {
  server = "127.0.0.1:53"
}
smtp "inbound" {
  listen = ["127.0.0.1:2525"]
  chain  = "inbound"
}
pop3 "pop3" {
  listen = ["127.0.0.1:2110", "127.0.0.1:995"]
}
imap "imap" {
  listen = ["127.0.0.1:993"]
  tls    = "implicit"
}
imap "balanced" {
  listen         = ["127.0.0.1:1143"]
  proxy_protocol = true
}
pop3 "everywhere" {
  listen = [":1110"]
}
imap "old" {
  listen          = ["127.0.0.1:143"]
  cleartext_login = true
}
web "web" {
  listen = ["127.0.0.1:8025"]
}
web "open" {
  listen = ["127.0.0.1:443"]
  open   = true
}
metrics {
  listen = "127.0.0.1:9464"
}
chain "inbound" {
  filter "rate" {
    limit "address" {
      messages = "200/1h"
    }
    limit "domain" {
      recipients = "1000/1h"
    }
  }
  filter "dnsbl" {
    list "zen.spamhaus.org" {
      codes = ["127.0.0.2-127.0.0.11"]
    }
  }
  route "here" {
    to  = ["local"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
