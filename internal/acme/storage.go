package acme

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"

	"hoplite/internal/files"
)

// metaBlock is the type of the PEM block that holds certmagic's metadata for a
// certificate.
const metaBlock = "ACME METADATA"

// Storage stores accounts and challenges as certmagic's FileStorage does. The
// key, certificate and metadata of a name are stored in one PEM file, which is
// replaced in a single rename, so that they match even after a crash.
type Storage struct {
	*certmagic.FileStorage

	mu     sync.Mutex
	staged map[string]map[string][]byte // by file name, then by extension
}

// NewStorage returns the storage in a folder, which need not exist yet.
func NewStorage(dir string) *Storage {
	return &Storage{FileStorage: &certmagic.FileStorage{Path: dir}, staged: map[string]map[string][]byte{}}
}

// bundle returns the file that holds a storage key, and the part of the file,
// if the key belongs to a certificate.
func (s *Storage) bundle(key string) (file, part string, ok bool) {
	part = path.Ext(key)
	if !strings.HasPrefix(key, "certificates/") || part != ".key" && part != ".crt" && part != ".json" {
		return "", "", false
	}
	return s.Filename(strings.TrimSuffix(key, part) + ".pem"), part, true
}

// Store stores a value. The parts of a certificate arrive in the order key,
// certificate, metadata, and become visible with the last one.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	file, part, ok := s.bundle(key)
	if !ok {
		return s.FileStorage.Store(ctx, key, value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staged[file] == nil {
		s.staged[file] = map[string][]byte{}
	}
	parts := s.staged[file]
	parts[part] = bytes.Clone(value)
	if part != ".json" {
		return nil
	}
	delete(s.staged, file)
	var text bytes.Buffer
	text.Write(parts[".key"])
	text.Write(parts[".crt"])
	if err := pem.Encode(&text, &pem.Block{Type: metaBlock, Bytes: value}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return files.Write(file, text.Bytes(), 0o600)
}

// Load returns a value.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	file, part, ok := s.bundle(key)
	if !ok {
		return s.FileStorage.Load(ctx, key)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		switch {
		case b.Type == metaBlock && part == ".json":
			return b.Bytes, nil
		case b.Type == "CERTIFICATE" && part == ".crt", strings.HasSuffix(b.Type, "PRIVATE KEY") && part == ".key":
			if err := pem.Encode(&out, b); err != nil {
				return nil, err
			}
		}
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("%s has no %s: %w", file, part[1:], fs.ErrNotExist)
	}
	return out.Bytes(), nil
}

// Exists reports whether a value exists.
func (s *Storage) Exists(ctx context.Context, key string) bool {
	file, _, ok := s.bundle(key)
	if !ok {
		return s.FileStorage.Exists(ctx, key)
	}
	_, err := os.Stat(file)
	return err == nil
}

// Delete removes a value. If it is part of a certificate, the other parts are
// also removed.
func (s *Storage) Delete(ctx context.Context, key string) error {
	file, _, ok := s.bundle(key)
	if !ok {
		return s.FileStorage.Delete(ctx, key)
	}
	s.mu.Lock()
	delete(s.staged, file)
	s.mu.Unlock()
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Stat describes a value.
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	file, _, ok := s.bundle(key)
	if !ok {
		return s.FileStorage.Stat(ctx, key)
	}
	st, err := os.Stat(file)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key, Modified: st.ModTime(), Size: st.Size(), IsTerminal: true}, nil
}

// Files returns the PEM files of the certificates in a Storage folder.
func Files(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, "certificates", "*", "*", "*.pem"))
}
