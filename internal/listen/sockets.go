package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets holds the listening sockets of the process: those passed by systemd
// and those opened by Listen. A socket outlives its listener, so that a reload
// loses no connections: the old and the new listener share the kernel's queue.
type Sockets struct {
	mu   sync.Mutex
	open map[string]*socket
}

type socket struct {
	file      *os.File
	used      bool   // since the last Sweep
	fresh     bool   // opened since the last Sweep
	inherited bool   // passed by systemd; never closed by Sweep
	path      string // of a Unix socket opened here
}

// NewSockets returns the sockets that systemd passed to this process
// (sd_listen_fds(3)), and removes the environment variables. It must be called
// once, before any file is opened.
func NewSockets() *Sockets {
	s := &Sockets{open: make(map[string]*socket)}
	pid, n, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, k := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(k)
	}
	count, err := strconv.Atoi(n)
	if err != nil || pid != strconv.Itoa(os.Getpid()) {
		return s
	}
	for i := range min(count, 256) {
		fd := 3 + i
		syscall.CloseOnExec(fd)
		name := ""
		if i < len(names) {
			name = names[i]
		}
		s.inherit(os.NewFile(uintptr(fd), name), name)
	}
	return s
}

// inherit adds a socket under both its address and its name.
func (s *Sockets) inherit(f *os.File, name string) {
	l, err := net.FileListener(f)
	if err != nil {
		f.Close()
		return
	}
	addr := l.Addr()
	l.Close()
	sock := &socket{file: f, inherited: true}
	s.open[addr.Network()+" "+addr.String()] = sock
	if name != "" {
		s.open["systemd "+name] = sock
	}
}

// Listen opens a socket for the listener called name. network is tcp, unix or
// systemd; address is a host and port, a path, or the name of a socket unit
// (FileDescriptorName=). A socket that is already open is reused.
func (s *Sockets) Listen(name, network, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := network + " " + address
	if _, port, err := net.SplitHostPort(address); network == "tcp" && err == nil && port == "0" {
		key = name + " " + key // any port: one per listener, kept across reloads
	}
	if sock := s.open[key]; sock != nil {
		sock.used = true
		return net.FileListener(sock.file)
	}
	switch network {
	case "tcp":
		l, err := s.listenTCP(address)
		if err != nil {
			return nil, err
		}
		return l, s.keep(key, l, "")
	case "unix":
		l, err := listenUnix(address)
		if err != nil {
			return nil, err
		}
		return l, s.keep(key, l, address)
	case "systemd":
		return nil, fmt.Errorf("systemd passed no socket called %s", address)
	}
	return nil, fmt.Errorf("listen on %s: unknown network %q", address, network)
}

// listenTCP opens a TCP socket. One of our sockets may already use the same
// port at an overlapping address, for example when a reload changes ":25" to
// "192.0.2.1:25". Both stay open until the next Sweep or Undo.
func (s *Sockets) listenTCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	own := s.overlapping(address)
	if len(own) == 0 {
		return nil, err
	}
	for _, sock := range own {
		if e := share(sock.file, true); e != nil {
			return nil, fmt.Errorf("%w: this server listens on the port already; restart it to change the address", err)
		}
		defer share(sock.file, false)
	}
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var e error
		return errors.Join(c.Control(func(fd uintptr) { e = sharePort(int(fd), true) }), e)
	}}
	l, e := shared.Listen(context.Background(), "tcp", address)
	if e != nil {
		return nil, fmt.Errorf("%w: this server listens on the port already; restart it to change the address", err)
	}
	if raw, e := l.(*net.TCPListener).SyscallConn(); e == nil {
		raw.Control(func(fd uintptr) { sharePort(int(fd), false) })
	}
	return l, nil
}

// overlapping returns the open TCP sockets with the port of address.
func (s *Sockets) overlapping(address string) (list []*socket) {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return nil
	}
	for _, sock := range s.open {
		l, err := net.FileListener(sock.file)
		if err != nil {
			continue
		}
		if _, p, err := net.SplitHostPort(l.Addr().String()); err == nil && l.Addr().Network() == "tcp" && p == port {
			list = append(list, sock)
		}
		l.Close()
	}
	return list
}

// share turns port sharing for a socket on or off.
func share(f *os.File, on bool) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var e error
	err = raw.Control(func(fd uintptr) { e = sharePort(int(fd), on) })
	return errors.Join(err, e)
}

// sharePort sets the socket option that allows two sockets of one user to use
// the same port. It is off at all other times, so that a second server cannot
// intercept connections.
func sharePort(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
}

// keep stores a duplicate of the socket.
func (s *Sockets) keep(key string, l net.Listener, path string) error {
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		l.Close()
		return fmt.Errorf("keep socket %s: %w", key, err)
	}
	s.open[key] = &socket{file: f, used: true, fresh: true, path: path}
	return nil
}

// listenUnix opens a socket at path. It replaces a socket left by a process
// that no longer exists, but not one that is in use.
func listenUnix(path string) (net.Listener, error) {
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == os.ModeSocket {
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("listen on %s: %w", path, syscall.EADDRINUSE)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // Sockets removes it when no listener uses it
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Undo closes the sockets that were opened since the last Sweep. It is called
// if a new configuration could not open all of its sockets.
func (s *Sockets) Undo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, sock := range s.open {
		if sock.fresh {
			sock.close()
			delete(s.open, key)
		}
		sock.used = false
	}
}

// Sweep closes the sockets that Listen has not returned since the last Sweep.
// It is called after each configuration, including the first, has opened its
// sockets.
func (s *Sockets) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, sock := range s.open {
		if !sock.used && !sock.inherited {
			sock.close()
			delete(s.open, key)
		}
		sock.used, sock.fresh = false, false
	}
}

// Close closes all sockets.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, sock := range s.open {
		sock.close()
		delete(s.open, key)
	}
}

func (s *socket) close() {
	s.file.Close()
	if s.path != "" {
		os.Remove(s.path)
	}
}

// Notify sends systemd the state of the service, such as "READY=1" (sd_notify(3)).
// Without systemd it does nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
