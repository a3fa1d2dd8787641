package listen

import (
	"net"
	"time"
)

// SetKeepAlive sets the time after which TCP probes an idle connection. It then
// probes every minute and gives up after five probes. SetKeepAlive has no
// effect on sockets other than TCP.
func (c *Conn) SetKeepAlive(idle time.Duration) error {
	t, ok := c.socket.(*net.TCPConn)
	if !ok {
		return nil
	}
	return t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: time.Minute, Count: 5})
}
