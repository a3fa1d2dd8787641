package imap

import (
	"hoplite/internal/deflate"
)

// handleCompress runs COMPRESS (RFC 4978): after its OK, both directions are
// compressed below the protocol and above TLS. It is valid only after login, so
// that passwords are never compressed together with data that an attacker can
// choose.
func handleCompress(a *account, c *call) error {
	c.args.SP()
	mechanism := c.args.Command()
	if err := c.args.End(); err != nil {
		return err
	}
	s := a.session
	switch {
	case mechanism != "DEFLATE":
		return badf("Unknown compression mechanism")
	case s.deflated:
		return nof("[COMPRESSIONACTIVE] Compression is already active")
	case s.in.Buffered():
		// The client must wait for the response, because otherwise it is not
		// known whether the input is compressed.
		return badf("Input after COMPRESS")
	}
	if err := s.poll(true); err != nil {
		return err
	}
	c.ok()
	if err := s.out.Flush(); err != nil {
		return err
	}
	s.deflated = true
	s.in.Release()
	// Limits apply to the decompressed input, which is produced in small pieces.
	s.in.From(deflate.NewReader(connReader{s.conn}))
	s.out.Through(deflate.NewWriter(deadlineWriter{s.conn}))
	return nil
}
