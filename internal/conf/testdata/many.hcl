hostnme = "mail.example.org"
nets    = ["192.0.2.0/24", "192.0.2.1/24", "nonsense"]
password = env("SURELY_NOT_SET")
dns {
  server = "127.0.0.1"
}
dns {
  server = "127.0.0.1:53"
}
smtp "a" {
  listen = "127.0.0.1"
  auth   = "requred"
  idle   = "5 minutes"
  max    = "25XB"
}
smtp "a" {
  idle = 5
  shadow {
  }
}
smtp {
  listen = ":25"
}
