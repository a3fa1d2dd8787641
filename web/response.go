package web

import (
	"bytes"
	"context"
	"maps"
	"net/http"
)

// response is an http.ResponseWriter that keeps a response in memory until it is
// sent. Writes fail after ctx has ended.
type response struct {
	ctx    context.Context
	header http.Header
	status int
	body   bytes.Buffer
}

func newResponse(ctx context.Context) *response {
	return &response{ctx: ctx, header: http.Header{}, status: http.StatusOK}
}

func (p *response) Header() http.Header { return p.header }

func (p *response) WriteHeader(status int) { p.status = status }

func (p *response) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.body.Write(b)
}

// send sends the response, in addition to the header fields that w already has.
func (p *response) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.header)
	w.WriteHeader(p.status)
	w.Write(p.body.Bytes())
}
