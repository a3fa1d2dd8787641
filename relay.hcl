hostname = "mail.example.org" # greetings, EHLO, Received
data     = "var"              # everything we keep; relative to this file
