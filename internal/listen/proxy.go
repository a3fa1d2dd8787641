package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// This file reads exactly the octets of a PROXY header. A TLS handshake may
// follow immediately, and a buffering reader would have to remain between the
// socket and its users. go-proxyproto parses the octets. Its own reader
// requires a version 1 header in a single segment; this one accepts segments of
// any size.

var proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

const (
	proxyV1Max = 107  // version 1: maximum line length, including CRLF
	proxyV2Max = 4096 // version 2: addresses and extensions
	proxyV2Len = 16   // version 2: length of the fixed part
)

var errProxy = errors.New("malformed PROXY header")

// readProxy reads a version 1 or 2 header and nothing beyond it. It returns
// invalid addresses without an error if the proxy connects on its own behalf,
// for example for a health check.
func readProxy(r io.Reader) (client, local netip.AddrPort, err error) {
	octets, err := proxyHeader(r)
	if err != nil {
		return client, local, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(octets), len(octets)))
	switch {
	case errors.Is(err, proxyproto.ErrUnsupportedAddressFamilyAndProtocol):
		return client, local, nil // the proxy does not name its client
	case err != nil:
		return client, local, fmt.Errorf("%w: %w", errProxy, err)
	}
	from, ok1 := h.SourceAddr.(*net.TCPAddr)
	to, ok2 := h.DestinationAddr.(*net.TCPAddr)
	if !h.Command.IsProxy() || !ok1 || !ok2 {
		return client, local, nil
	}
	return addrPort(from), addrPort(to), nil
}

// proxyHeader reads a header and returns its octets.
func proxyHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, 12, 128)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read PROXY header: %w", err)
	}
	if !bytes.Equal(b, proxyV2) {
		return proxyLine(r, b)
	}
	b = b[:proxyV2Len]
	if _, err := io.ReadFull(r, b[12:]); err != nil {
		return nil, fmt.Errorf("read PROXY header: %w", err)
	}
	n := int(binary.BigEndian.Uint16(b[14:]))
	if n > proxyV2Max {
		return nil, errProxy
	}
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(r, b[proxyV2Len:]); err != nil {
		return nil, fmt.Errorf("read PROXY header: %w", err)
	}
	return b, nil
}

// proxyLine reads the rest of a version 1 header.
func proxyLine(r io.Reader, b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte("PROXY ")) {
		return nil, errProxy
	}
	for b[len(b)-1] != '\n' {
		if len(b) == proxyV1Max {
			return nil, errProxy
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, fmt.Errorf("read PROXY header: %w", err)
		}
	}
	return b, nil
}
