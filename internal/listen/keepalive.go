package listen

import (
	"net"
	"time"
)

// SetKeepAlive sets how long the connection may be silent before TCP asks
// whether the client is still there; then it asks every minute and gives up after
// five times. On sockets other than TCP it does nothing.
func (c *Conn) SetKeepAlive(idle time.Duration) error {
	t, ok := c.socket.(*net.TCPConn)
	if !ok {
		return nil
	}
	return t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: time.Minute, Count: 5})
}
