hostname = "x"
smtp "a" {
  listen = ":25"
  max = 25MB
}
