package milter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"hoplite/mail/safe"
)

// These are the commands and replies of the milter protocol, version 6
// (libmilter's mfdef.h).
const (
	cmdNegotiate = 'O'
	cmdMacro     = 'D'
	cmdConnect   = 'C'
	cmdHelo      = 'H'
	cmdMail      = 'M'
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdHeader    = 'L'
	cmdEOH       = 'N'
	cmdBody      = 'B'
	cmdEOM       = 'E'
	cmdAbort     = 'A'
	cmdQuit      = 'Q'

	repContinue    = 'c'
	repAccept      = 'a'
	repReject      = 'r'
	repTempfail    = 't'
	repDiscard     = 'd'
	repReply       = 'y'
	repSkip        = 's'
	repProgress    = 'p'
	repShutdown    = '4'
	repConnFail    = 'f'
	repAddRcpt     = '+'
	repAddRcptArgs = '2'
	repDelRcpt     = '-'
	repBody        = 'b'
	repChgHeader   = 'm'
	repInsHeader   = 'i'
	repAddHeader   = 'h'
	repChgFrom     = 'e'
	repQuarantine  = 'q'
)

// allActions is the set of actions that a milter may request (SMFIF_*): all
// except choosing its macros. Changes that the configuration does not allow are
// ignored later, because most milters refuse to negotiate without the actions
// they might need.
const allActions = 0xFF

// The protocol flags (SMFIP_*) name steps that a milter does not want, and
// steps that it does not reply to.
const (
	noConnect = 1 << 0
	noHelo    = 1 << 1
	noMail    = 1 << 2
	noRcpt    = 1 << 3
	noBody    = 1 << 4
	noHeaders = 1 << 5
	noEOH     = 1 << 6
	nrHeader  = 1 << 7
	noUnknown = 1 << 8 // not needed, because this step is never sent
	noData    = 1 << 9
	skipBody  = 1 << 10
	nrConnect = 1 << 12
	nrHelo    = 1 << 13
	nrMail    = 1 << 14
	nrRcpt    = 1 << 15
	nrData    = 1 << 16
	nrUnknown = 1 << 17
	nrEOH     = 1 << 18
	nrBody    = 1 << 19
	leadSpace = 1 << 20

	offered = noConnect | noHelo | noMail | noRcpt | noBody | noHeaders | noEOH | nrHeader | noUnknown | noData | skipBody |
		nrConnect | nrHelo | nrMail | nrRcpt | nrData | nrUnknown | nrEOH | nrBody | leadSpace
)

// maxPacket is the maximum size of a reply; body chunks have up to 64 KiB.
const maxPacket = 1 << 20

// maxChunk is the maximum size of a body packet (MILTER_CHUNK_SIZE).
const maxChunk = 65535

// conn is a connection to a milter.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, in: bufio.NewReader(c), out: bufio.NewWriterSize(c, 16<<10)}
}

// send writes a packet into the buffer.
func (c *conn) send(cmd byte, data ...[]byte) error {
	n := 1
	for _, d := range data {
		n += len(d)
	}
	var head [5]byte
	binary.BigEndian.PutUint32(head[:], uint32(n))
	head[4] = cmd
	_, err := c.out.Write(head[:])
	for _, d := range data {
		if err == nil {
			_, err = c.out.Write(d)
		}
	}
	return err
}

// receive flushes the buffer and reads a packet.
func (c *conn) receive() (cmd byte, data []byte, err error) {
	if err := c.out.Flush(); err != nil {
		return 0, nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return 0, nil, c.notMilter(head[:])
	}
	data = make([]byte, n)
	if _, err := io.ReadFull(c.in, data); err != nil {
		return 0, nil, err
	}
	return data[0], data[1:], nil
}

// errNotMilter is returned if the peer speaks another protocol.
var errNotMilter = errors.New("not a milter")

// notMilter describes a reply in another protocol.
func (c *conn) notMilter(head []byte) error {
	c.SetReadDeadline(time.Now().Add(time.Second))
	rest := make([]byte, 200)
	n, _ := io.ReadAtLeast(c.in, rest, 1) // used only in the error message
	return fmt.Errorf("%w: it sent %q%s", errNotMilter, safe.Log(string(append(head, rest[:n]...))), guess(string(head)+string(rest[:n])))
}

// guess names the protocol that a greeting or error message belongs to.
func guess(said string) string {
	switch upper := strings.ToUpper(said); {
	case strings.Contains(upper, "UNKNOWN COMMAND"), strings.Contains(upper, "PONG"):
		return "; this is clamd: the milter is a separate program, clamav-milter, with its own socket"
	case strings.HasPrefix(upper, "HTTP/"):
		return "; this is a web server: rspamd's milter is its proxy worker, usually port 11332"
	case strings.HasPrefix(upper, "220"):
		return "; this is an SMTP server"
	}
	return ""
}

// text encodes s as a C string.
func text(s string) []byte {
	return append([]byte(strings.ReplaceAll(s, "\x00", "")), 0)
}

// words splits a sequence of C strings.
func words(data []byte) []string {
	var out []string
	for w := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte{0}), []byte{0}) {
		out = append(out, string(w))
	}
	return out
}
