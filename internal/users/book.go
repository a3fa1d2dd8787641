package users

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"hoplite/mail"
)

// Limits on data/users, far above the needs of one server.
const (
	maxLine        = 4096
	maxAccounts    = 1_000_000
	maxCredentials = 50
)

// Book is the content of data/users:
//
//	# kept for the printer
//	ann@example.org
//		password {SCRAM-SHA-256}32768,salt,stored,server
//		app phone {SCRAM-SHA-256}32768,salt,stored,server
//		role admin
//		forward bob@example.net
//		quota 5368709120
//
// The name of an account is not indented; its settings are. Comments stay with
// the account below them.
type Book struct {
	// Decoy is the key from which the salts for names without an account are
	// derived. It is stored so that these salts, like real ones, survive a
	// restart.
	Decoy []byte

	accounts map[string]*Account // by mail.Key of the name
	domains  map[string]int      // number of accounts per domain, by normal form
	order    []string            // keys in file order
	tail     []string            // comments after the last account
}

func newBook() *Book {
	b := &Book{Decoy: make([]byte, 32), accounts: map[string]*Account{}, domains: map[string]int{}}
	rand.Read(b.Decoy)
	return b
}

// Account returns an account, which may be changed only within Store.Update.
func (b *Book) Account(name string) (*Account, bool) {
	a, ok := b.accounts[mail.Key(name)]
	return a, ok
}

// Accounts returns all accounts in file order.
func (b *Book) Accounts() []*Account {
	all := make([]*Account, len(b.order))
	for i, key := range b.order {
		all[i] = b.accounts[key]
	}
	return all
}

// Add appends a new account.
func (b *Book) Add(a *Account) error {
	if err := CheckName(a.Name); err != nil {
		return err
	}
	key := mail.Key(a.Name)
	if old, ok := b.accounts[key]; ok {
		return fmt.Errorf("account %s exists already", old.Name)
	}
	if len(b.order) >= maxAccounts {
		return fmt.Errorf("more than %d accounts", maxAccounts)
	}
	b.accounts[key] = a
	_, domain := split(key)
	b.domains[domain]++
	b.order = append(b.order, key)
	return nil
}

// Remove deletes an account.
func (b *Book) Remove(name string) error {
	key := mail.Key(name)
	if _, ok := b.accounts[key]; !ok {
		return fmt.Errorf("%s: %w", name, ErrNoAccount)
	}
	delete(b.accounts, key)
	_, domain := split(key)
	b.domains[domain]--
	b.order = slices.DeleteFunc(b.order, func(k string) bool { return k == key })
	return nil
}

// SetPassword sets the main password, or the app password named app. All
// passwords of an account share one salt, so that computing one hash is enough
// to check them all.
func (a *Account) SetPassword(app, password string) error {
	if app != "" && strings.ContainsFunc(app, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("app password %q: its name must be one word", app)
	}
	if password == "" {
		return errors.New("the password is empty")
	}
	k := NewKeys(password)
	for _, c := range a.Credentials {
		if c.Keys != nil && c.Name != app && c.Keys.Iterations >= iterations {
			k = derive(password, c.Keys.Salt, c.Keys.Iterations)
			break
		}
	}
	a.RemovePassword(app)
	if len(a.Credentials) >= maxCredentials {
		return fmt.Errorf("%s: more than %d passwords", a.Name, maxCredentials)
	}
	a.Credentials = append(a.Credentials, Credential{Name: app, Keys: &k})
	return nil
}

// RemovePassword removes the main password ("") or an app password and reports
// whether it existed.
func (a *Account) RemovePassword(app string) bool {
	n := len(a.Credentials)
	a.Credentials = slices.DeleteFunc(a.Credentials, func(c Credential) bool { return c.Name == app })
	return len(a.Credentials) < n
}

// clone returns a deep copy, which may be changed.
func (b *Book) clone() *Book {
	c := &Book{
		Decoy: b.Decoy, accounts: make(map[string]*Account, len(b.accounts)),
		domains: maps.Clone(b.domains), order: slices.Clone(b.order), tail: b.tail,
	}
	for key, a := range b.accounts {
		n := *a
		n.Roles, n.Forward = slices.Clone(a.Roles), slices.Clone(a.Forward)
		n.Credentials = slices.Clone(a.Credentials)
		c.accounts[key] = &n
	}
	return c
}

// WriteTo writes the content of the file.
func (b *Book) WriteTo(w io.Writer) (int64, error) {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "decoy %s\n", base64.StdEncoding.EncodeToString(b.Decoy))
	for _, a := range b.Accounts() {
		for _, c := range a.comment {
			fmt.Fprintln(&buf, c)
		}
		fmt.Fprintln(&buf, a.Name)
		for _, c := range a.Credentials {
			hash := c.Legacy
			if c.Keys != nil {
				hash = c.Keys.String()
			}
			if c.Name == "" {
				fmt.Fprintf(&buf, "\tpassword %s\n", hash)
			} else {
				fmt.Fprintf(&buf, "\tapp %s %s\n", c.Name, hash)
			}
		}
		for _, r := range a.Roles {
			fmt.Fprintf(&buf, "\trole %s\n", r)
		}
		for _, f := range a.Forward {
			fmt.Fprintf(&buf, "\tforward %s\n", f)
		}
		if a.Quota != 0 {
			fmt.Fprintf(&buf, "\tquota %d\n", a.Quota)
		}
	}
	for _, c := range b.tail {
		fmt.Fprintln(&buf, c)
	}
	return buf.WriteTo(w)
}

// parseBook parses the file and reports every mistake as name:line.
func parseBook(r io.Reader, name string) (*Book, error) {
	var (
		b       = newBook()
		errs    []error
		comment []string
		at      *Account
		n       int
	)
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		n++
		line := in.Text()
		text := strings.TrimSpace(line)
		var err error
		switch {
		case text == "" || text[0] == '#':
			comment = append(comment, strings.TrimRight(line, " \t\r\v\f"))
			continue
		case line[0] == ' ' || line[0] == '\t':
			if at == nil {
				err = errors.New("setting without an account above it")
			} else {
				err = at.set(text)
				at.comment, comment = append(at.comment, comment...), nil
			}
		case strings.HasPrefix(text, "decoy "):
			b.Decoy, err = base64.StdEncoding.DecodeString(text[len("decoy "):])
		default:
			at = &Account{Name: text, comment: comment}
			comment = nil
			err = b.Add(at)
		}
		if err != nil && len(errs) < 20 {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, n, err))
		}
	}
	if err := in.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s:%d: %w", name, n+1, err))
	}
	b.tail = comment
	return b, errors.Join(errs...)
}

// set parses one indented line.
func (a *Account) set(text string) (err error) {
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return fmt.Errorf("%s: value missing", word)
	}
	switch word {
	case "password":
		return a.addCredential("", rest)
	case "app":
		app, hash, _ := strings.Cut(rest, " ")
		return a.addCredential(app, strings.TrimSpace(hash))
	case "role":
		if rest != Admin {
			return fmt.Errorf("role %q: the only role is %q", rest, Admin)
		}
		a.Roles = append(a.Roles, rest)
	case "forward":
		if err := CheckForward(rest); err != nil {
			return err
		}
		a.Forward = append(a.Forward, rest)
	case "quota":
		if a.Quota, err = strconv.ParseInt(rest, 10, 64); err != nil || a.Quota < 0 {
			return fmt.Errorf("quota %q: want a number of bytes", rest)
		}
	default:
		return fmt.Errorf("unknown setting %q: want password, app, role, forward or quota", word)
	}
	return nil
}

// CheckForward returns an error unless an account can forward to addr.
func CheckForward(addr string) error {
	l, d := split(addr)
	if l == "" || d == "" || strings.ContainsFunc(addr, func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }) {
		return fmt.Errorf("forward %q: want a full address", addr)
	}
	return nil
}

func (a *Account) addCredential(app, hash string) error {
	c := Credential{Name: app}
	if len(a.Credentials) >= maxCredentials {
		return fmt.Errorf("more than %d passwords", maxCredentials)
	}
	if slices.ContainsFunc(a.Credentials, func(c Credential) bool { return c.Name == app }) {
		return fmt.Errorf("password %q is defined twice", app)
	}
	if strings.HasPrefix(hash, scheme) {
		k, err := parseKeys(hash)
		if err != nil {
			return err
		}
		c.Keys = &k
	} else {
		c.Legacy = stripScheme(hash)
		if err := checkLegacy(c.Legacy); err != nil {
			return err
		}
	}
	a.Credentials = append(a.Credentials, c)
	return nil
}

// stripScheme removes a Dovecot prefix, such as {SHA512-CRYPT}. The hash itself
// identifies its scheme.
func stripScheme(hash string) string {
	if strings.HasPrefix(hash, "{") {
		if i := strings.IndexByte(hash, '}'); i > 0 {
			return hash[i+1:]
		}
	}
	return hash
}
