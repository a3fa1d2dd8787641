smtp "inbound" {
  listen = ["127.0.0.1"]
  chain  = "inbound"
  auth   = "requried"
  max_size = 25MB
}
smtp "inbound" {
  listen = ["127.0.0.1:26"]
}
upstream "nowhere" {
  auth {
    user     = "relay"
    password = env("HOPLITE_TEST_NOT_SET")
  }
}
chain "inbound" {
  route "x" {
    to   = example.org
    hop  = "boxes"
    when = "always"
  }
  filter "hops" {
    max = "many"
  }
}
queues {
}
