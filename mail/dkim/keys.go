package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Keys reads private keys from files on demand. The zero value is ready to use.
type Keys struct {
	mu   sync.Mutex
	read map[string]loaded // keyed by file name
}

// loaded is a key and the state of its file when it was read.
type loaded struct {
	key  crypto.Signer
	info fs.FileInfo
}

// KeyFile returns the default path of a key in the data folder.
func KeyFile(data, domain, selector string) string {
	return filepath.Join(data, "dkim", strings.ToLower(domain), selector+".pem")
}

// Of returns the signing key of a domain, read from file (relative to the data
// folder) or, if file is empty, from KeyFile. The error describes how to fix
// the problem.
func (k *Keys) Of(data, domain, selector, file string) (crypto.Signer, error) {
	switch {
	case file == "":
		file = KeyFile(data, domain, selector)
	case !filepath.IsAbs(file):
		file = filepath.Join(data, file)
	}
	key, err := k.Load(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no DKIM key for %s in %s: create one with: hoplite dkim keygen %s --selector %s", domain, file, domain, selector)
	}
	if err != nil {
		return nil, fmt.Errorf("DKIM key of %s: %w", domain, err)
	}
	return key, nil
}

// Load returns the key in a file. It reads the file again only if it has
// changed.
func (k *Keys) Load(file string) (crypto.Signer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if l, ok := k.read[file]; ok && l.info.ModTime().Equal(info.ModTime()) && l.info.Size() == info.Size() {
		return l.key, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if k.read == nil {
		k.read = map[string]loaded{}
	}
	k.read[file] = loaded{key, info}
	return key, nil
}

// ParsePrivateKey parses a private key in PEM: PKCS #8, or PKCS #1 as written
// by opendkim-genkey.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if err != nil {
			return nil, fmt.Errorf("read private key: %w", err)
		}
		if k.N.BitLen() < 1024 {
			return nil, fmt.Errorf("RSA key of %d bits: verifiers require at least 1024 (RFC 8301)", k.N.BitLen())
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.Join(errors.New("neither an RSA nor an Ed25519 key"), err)
}
