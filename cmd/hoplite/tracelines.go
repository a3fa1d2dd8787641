package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"unicode/utf8"

	"hoplite/mail/received"
)

// receivedLines reads Received values, one JSON string per line, and writes one
// object for each, in order. A line that is not a JSON string is read verbatim.
// Batches are parsed on all cores.
func receivedLines(r io.Reader, w io.Writer) error {
	// With the default setting, this small heap would be collected constantly.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	workers := runtime.GOMAXPROCS(0)
	jobs, order := make(chan *batch, workers), make(chan *batch, 4*workers)
	for range workers {
		go parseBatches(jobs)
	}
	written := make(chan error, 1)
	go func() { written <- writeBatches(w, order) }()
	in := bufio.NewReaderSize(r, 256<<10)
	var err error
	for err == nil {
		var lines []byte
		if lines, err = nextBatch(in); len(lines) > 0 {
			b := &batch{in: lines, done: make(chan struct{})}
			order <- b
			jobs <- b
		}
	}
	close(jobs)
	close(order)
	werr := <-written
	if err != io.EOF {
		return fmt.Errorf("read Received values: %w", err)
	}
	if werr != nil {
		return fmt.Errorf("write: %w", werr)
	}
	return nil
}

// batch is a group of lines for the workers.
type batch struct {
	in, out []byte
	done    chan struct{}
}

func parseBatches(jobs <-chan *batch) {
	var value []byte
	var h received.Line
	for b := range jobs {
		b.out = make([]byte, 0, 2*len(b.in))
		for line := range bytes.Lines(b.in) {
			if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
				continue
			}
			value = unquoteJSON(value[:0], line)
			received.ParseInto(&h, value)
			b.out = append(h.AppendJSON(b.out), '\n')
		}
		close(b.done)
	}
}

// writeBatches writes the results in the order of the input.
func writeBatches(w io.Writer, order <-chan *batch) error {
	out := bufio.NewWriterSize(w, 256<<10)
	var err error
	for b := range order {
		<-b.done
		if err == nil {
			_, err = out.Write(b.out)
		}
		// An interactive caller is waiting for this answer.
		if err == nil && len(order) == 0 {
			err = out.Flush()
		}
	}
	if err == nil {
		err = out.Flush()
	}
	return err
}

// maxReceivedLine is the maximum length of an input line.
const maxReceivedLine = 1 << 20

// nextBatch returns the available input, ending at the end of a line.
func nextBatch(in *bufio.Reader) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	batch, _ := in.Peek(in.Buffered())
	if i := bytes.LastIndexByte(batch, '\n'); i >= 0 {
		batch = bytes.Clone(batch[:i+1])
		in.Discard(i + 1)
		return batch, nil
	}
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			if len(line) > maxReceivedLine {
				return line, fmt.Errorf("a line of more than %d octets", maxReceivedLine)
			}
			continue
		}
		return line, err
	}
}

// unquoteJSON decodes a JSON string. It handles the simple escapes that Received
// values contain and leaves others to the standard library.
func unquoteJSON(dst, line []byte) []byte {
	if len(line) < 2 || line[0] != '"' || line[len(line)-1] != '"' {
		return append(dst, line...)
	}
	body := line[1 : len(line)-1]
	if bytes.IndexByte(body, '\\') < 0 && utf8.Valid(body) {
		return append(dst, body...)
	}
	for len(body) > 0 {
		i := bytes.IndexByte(body, '\\')
		if i < 0 || i+1 == len(body) {
			return append(dst, body...)
		}
		dst = append(dst, body[:i]...)
		c := body[i+1]
		body = body[i+2:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case '"', '\\', '/':
			dst = append(dst, c)
		default:
			var s string
			if json.Unmarshal(line, &s) != nil {
				return append(dst[:0], line...)
			}
			return append(dst[:0], s...)
		}
	}
	return dst
}
