// Package control connects the command line to a running server: HTTP over a
// Unix socket in the data folder. Any user that the file's permissions allow to
// open the socket may send every request.
//
// It also provides the lock that prevents two processes from using the same
// data folder. The requests and their handlers are in cmd/hoplite.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning is returned by the methods of Client if no server is listening.
var ErrNotRunning = errors.New("no server is running on this data folder")

// ErrLocked is returned by Lock if another process holds the lock.
var ErrLocked = errors.New("another hoplite process uses this data folder")

// maxBody is the maximum size of a request that the server reads, and of an
// error that the client reads.
const maxBody = 1 << 20

// SocketPath returns the path of the socket in a data folder.
func SocketPath(data string) string { return filepath.Join(data, "control.sock") }

// Lock locks the data folder until the file is closed or the process ends. The
// file contains the process id of the owner.
func Lock(data string) (io.Closer, error) {
	if err := os.MkdirAll(data, 0o750); err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := hold(f); err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}

// LockToRead is like Lock, but for a process that only reads: it neither
// creates nor changes the file. A folder that was never locked needs no lock.
func LockToRead(data string) (io.Closer, error) {
	path := filepath.Join(data, "lock")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return f, hold(f)
}

// hold acquires the lock, or closes f.
func hold(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return nil
	}
	defer f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		who, _ := io.ReadAll(io.LimitReader(f, 20))
		return fmt.Errorf("%w (process %s, %s)", ErrLocked, strings.TrimSpace(string(who)), f.Name())
	}
	return fmt.Errorf("lock data folder: %w", err)
}

// Serve answers requests on the socket in data until ctx ends. The caller holds
// the lock, so an existing socket file is left over from a crash.
func Serve(ctx context.Context, data string, handler http.Handler) error {
	path := SocketPath(data)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	server := &http.Server{
		Handler:           http.MaxBytesHandler(handler, maxBody),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Client sends requests to the server that uses a data folder.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client for the server that uses the folder data.
func NewClient(data string) *Client {
	path := SocketPath(data)
	return &Client{path, http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// Open sends a request and returns the body of the response, which the caller
// reads and closes. A body that is not nil is sent as JSON. The error is
// ErrNotRunning if no server is listening; a response other than 2xx is
// returned as an error with its text.
func (c *Client) Open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://hoplite"+path, in)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, &fs.PathError{Op: "connect to the server at", Path: c.path, Err: fs.ErrPermission}
	}
	if err != nil {
		return nil, fmt.Errorf("send request to the server: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return nil, errors.New(strings.TrimSpace(string(text)))
}

// Do is like Open, but decodes the JSON response into answer, which may be nil.
func (c *Client) Do(ctx context.Context, method, path string, body, answer any) error {
	out, err := c.Open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer out.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(out).Decode(answer); err != nil {
		return fmt.Errorf("read the server's response: %w", err)
	}
	return nil
}

// Answer writes v as the JSON response of a handler, or err as a 409 response
// with its text.
func Answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
