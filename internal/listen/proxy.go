package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol as HAProxy defines it (proxy-protocol.txt). Nothing is
// read beyond the header: a TLS handshake may follow at once.

var proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

const (
	proxyV1Max = 107  // version 1: the longest line, CRLF included
	proxyV2Max = 4096 // version 2: addresses and extensions that we put up with
)

var errProxy = errors.New("malformed PROXY header")

// readProxy reads a header of version 1 or 2. Invalid addresses without an
// error mean that the proxy speaks for itself, as in a health check.
func readProxy(r io.Reader) (client, local netip.AddrPort, err error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return client, local, fmt.Errorf("read PROXY header: %w", err)
	}
	if bytes.Equal(head[:], proxyV2) {
		return readProxyV2(r)
	}
	if !bytes.HasPrefix(head[:], []byte("PROXY ")) {
		return client, local, errProxy
	}
	line := append(make([]byte, 0, proxyV1Max), head[:]...)
	for line[len(line)-1] != '\n' {
		if len(line) == proxyV1Max {
			return client, local, errProxy
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return client, local, fmt.Errorf("read PROXY header: %w", err)
		}
	}
	return parseProxyV1(string(line))
}

func parseProxyV1(line string) (client, local netip.AddrPort, err error) {
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return client, local, errProxy
	}
	f := strings.Split(text, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return client, local, nil
	}
	if len(f) != 6 || (f[1] != "TCP4" && f[1] != "TCP6") {
		return client, local, errProxy
	}
	client, err1 := proxyAddr(f[2], f[4], f[1] == "TCP4")
	local, err2 := proxyAddr(f[3], f[5], f[1] == "TCP4")
	if err1 != nil || err2 != nil {
		return netip.AddrPort{}, netip.AddrPort{}, errProxy
	}
	return client, local, nil
}

func proxyAddr(addr, port string, v4 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() != v4 || a.Zone() != "" {
		return netip.AddrPort{}, errProxy
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, errProxy
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}

func readProxyV2(r io.Reader) (client, local netip.AddrPort, err error) {
	var head [4]byte // version and command, family, length
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return client, local, fmt.Errorf("read PROXY header: %w", err)
	}
	n := int(binary.BigEndian.Uint16(head[2:]))
	if head[0]>>4 != 2 || head[0]&15 > 1 || n > proxyV2Max {
		return client, local, errProxy
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return client, local, fmt.Errorf("read PROXY header: %w", err)
	}
	if head[0]&15 == 0 { // LOCAL
		return client, local, nil
	}
	size := 0
	switch head[1] {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return client, local, nil
	}
	if n < 2*size+4 {
		return client, local, errProxy
	}
	from, _ := netip.AddrFromSlice(body[:size])
	to, _ := netip.AddrFromSlice(body[size : 2*size])
	client = netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(body[2*size:]))
	local = netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(body[2*size+2:]))
	return client, local, nil
}
