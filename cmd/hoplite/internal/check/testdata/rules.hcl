hostname = "mail.example.org"

smtp "inbound" {
  listen = [":25", "127.0.0.1:2525"]
  chain  = "inbuond"
}
smtp "second" {
  listen       = ["127.0.0.1:25", "127.0.0.1:2525"]
  relay_from   = ["10.0.0.0/8", "128.0.0.0/1"]
  xclient_from = ["::/1"]
  chain        = "inbound"
}
lmtp "local" {
  listen = ["127.0.0.1:0"]
  chain  = "lonely"
}
chain "inbound" {
  filter "sise" {
    max = "25MiB"
  }
  filter "size" {
    maxx = "25MiB"
  }
  route "here" {
    to  = ["example.org", ".example.com"]
    hop = "boxs"
  }
  route "sales" {
    to   = ["sales@example.org", "a.b.example.com"]
    from = ["example.net"]
    hop  = "boxes"
  }
  route "top" {
    to  = [".org"]
    hop = "internet"
  }
  route "all" {
    from = ["friend@example.net"]
    hop  = "internet"
  }
}
chain "lonely" {
  route "out" {
    relay = true
    hop   = "internet"
  }
}
chain "spare" {
}
maildrop "boxes" {}
upstream "boxes" {
  servers  = ["smtp://192.0.2.1"]
  fallback = "boxes"
}
upstream "internet" {
  mx       = true
  fallback = "backup"
}
