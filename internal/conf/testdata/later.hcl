smtp "a" {
  listen      = [":25"]
  max         = true
  idle        = "0s"
  connections = 0
  auth        = required
}
chain "in" {
  filter "x" {
    maxx = "2KiB"
  }
  filter "x" {
    max = ["1KiB"]
  }
  router "y" {
  }
}
chain "in" "out" {
}
web "z" {
}
