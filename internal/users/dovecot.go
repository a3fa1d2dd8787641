package users

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hoplite/mail"
)

// ImportDovecot adds the accounts of a Dovecot passwd-file
// (user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields) with their hashes.
// domain is added to names without one. It returns the number of accounts
// added; the error lists the lines that could not be imported, as name:line.
func (b *Book) ImportDovecot(r io.Reader, name, domain string) (int, error) {
	var errs []error
	added, n := 0, 0
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		n++
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		a, err := dovecotAccount(line, domain)
		if err == nil {
			err = b.Add(a)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, n, err))
			continue
		}
		added++
	}
	if err := in.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s:%d: %w", name, n+1, err))
	}
	return added, errors.Join(errs...)
}

func dovecotAccount(line, domain string) (*Account, error) {
	f := strings.SplitN(line, ":", 8)
	if len(f) < 2 {
		return nil, errors.New("want user:password")
	}
	a := &Account{Name: mail.Fold(f[0])}
	if !strings.Contains(a.Name, "@") {
		a.Name += "@" + domain
	}
	hash := stripScheme(f[1])
	kind := strings.ToUpper(f[1][:len(f[1])-len(hash)])
	var err error
	switch kind {
	case "{PLAIN}", "{CLEAR}", "{CLEARTEXT}":
		err = a.SetPassword("", hash)
	case scheme:
		err = a.addCredential("", scheme+hash)
	default:
		if err = a.addCredential("", hash); errors.Is(err, errScheme) && kind != "" {
			err = fmt.Errorf("%s: %w", kind, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	if len(f) == 8 {
		a.Quota = dovecotQuota(f[7])
	}
	return a, nil
}

// dovecotQuota returns the value of userdb_quota_rule=*:storage= in the extra
// fields.
func dovecotQuota(extra string) int64 {
	for _, e := range strings.Fields(extra) {
		rule, ok := strings.CutPrefix(e, "userdb_quota_rule=*:storage=")
		if !ok {
			continue
		}
		rule, _, _ = strings.Cut(rule, ":")
		shift := 10 // Dovecot's default unit is KiB
		if i := len(rule) - 1; i > 0 {
			if at := strings.IndexByte("BKMGT", rule[i]&^0x20); at >= 0 {
				shift, rule = 10*at, rule[:i]
			}
		}
		n, err := strconv.ParseInt(rule, 10, 64)
		if err == nil && n >= 0 && n < 1<<20 {
			return n << shift
		}
	}
	return 0
}
