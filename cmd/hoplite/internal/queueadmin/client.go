package queueadmin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"hoplite/internal/control"
	"hoplite/relay/queue"
)

// Admin is the queue as commands use it, either in a running server or in the
// files of a stopped one.
type Admin interface {
	List(ctx context.Context, f queue.Filter, limit int) ([]queue.Info, error)
	Totals(ctx context.Context, f queue.Filter) ([]queue.Total, error)
	Show(ctx context.Context, id string) (queue.Detail, error)
	Export(ctx context.Context, id string, w io.Writer) error
	Execute(ctx context.Context, o queue.Order, say func(queue.Progress)) (queue.Progress, error)
}

// running is the queue of a running server.
type running struct{ *control.Client }

func (c running) List(ctx context.Context, f queue.Filter, limit int) (all []queue.Info, err error) {
	in := struct {
		queue.Filter
		Limit int
	}{f, limit}
	return all, c.Do(ctx, http.MethodPost, "/queue/list", in, &all)
}

func (c running) Totals(ctx context.Context, f queue.Filter) (all []queue.Total, err error) {
	return all, c.Do(ctx, http.MethodPost, "/queue/totals", f, &all)
}

func (c running) Show(ctx context.Context, id string) (d queue.Detail, err error) {
	return d, c.Do(ctx, http.MethodGet, "/queue/show/"+url.PathEscape(id), nil, &d)
}

func (c running) Export(ctx context.Context, id string, w io.Writer) error {
	body, err := c.Open(ctx, http.MethodGet, "/queue/message/"+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

func (c running) Execute(ctx context.Context, o queue.Order, say func(queue.Progress)) (queue.Progress, error) {
	body, err := c.Open(ctx, http.MethodPost, "/queue/order", o)
	if err != nil {
		return queue.Progress{}, err
	}
	defer body.Close()
	for in := json.NewDecoder(body); ; {
		var s step
		if err := in.Decode(&s); err != nil {
			return s.Progress, fmt.Errorf("the server's answer is incomplete: %w", err)
		}
		switch {
		case s.Error != "":
			return s.Progress, errors.New(s.Error)
		case s.End:
			return s.Progress, nil
		}
		say(s.Progress)
	}
}

// stopped is the queue of a data folder whose server is not running.
type stopped struct{ q *queue.Queue }

func (s stopped) List(_ context.Context, f queue.Filter, limit int) ([]queue.Info, error) {
	return s.q.List(f, limit), nil
}

func (s stopped) Totals(_ context.Context, f queue.Filter) ([]queue.Total, error) {
	return s.q.Totals(f), nil
}

func (s stopped) Show(_ context.Context, id string) (queue.Detail, error) { return s.q.Show(id) }

func (s stopped) Export(_ context.Context, id string, w io.Writer) error {
	var b bytes.Buffer
	if err := s.q.Export(id, &b); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

func (s stopped) Execute(ctx context.Context, o queue.Order, say func(queue.Progress)) (queue.Progress, error) {
	return s.q.Execute(ctx, o, say)
}

// empty stands for the queue of a data folder that has none.
type empty struct{}

func (empty) List(context.Context, queue.Filter, int) ([]queue.Info, error) { return nil, nil }

func (empty) Totals(context.Context, queue.Filter) ([]queue.Total, error) { return nil, nil }

func (empty) Show(context.Context, string) (queue.Detail, error) {
	return queue.Detail{}, queue.ErrNotQueued
}

func (empty) Export(context.Context, string, io.Writer) error { return queue.ErrNotQueued }

func (empty) Execute(context.Context, queue.Order, func(queue.Progress)) (queue.Progress, error) {
	return queue.Progress{}, nil
}
