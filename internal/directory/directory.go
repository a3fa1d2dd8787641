package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"hoplite/internal/files"
	"hoplite/internal/outage"
	"hoplite/mail/safe"
)

// ErrUnknown means that no entry has the address.
var ErrUnknown = errors.New("no such address in the directory")

// ErrPassword means that a password is wrong, or that the account may not log
// in.
var ErrPassword = errors.New("wrong name or password")

// ErrReply means that the directory answered a login with an error that is about
// neither the name nor the password. Other logins may be answered.
var ErrReply = errors.New("unexpected reply to the login")

// Env holds what a directory needs apart from its configuration.
type Env struct {
	// Data is the data folder.
	Data string
	// Log receives a line when the directory becomes unavailable or available.
	Log zerolog.Logger
}

// Directory answers questions about the addresses of an LDAP server. It is safe
// for concurrent use.
type Directory struct {
	cfg    Config
	schema schema
	log    zerolog.Logger
	client *client

	entries *cache[*Entry]   // by address
	groups  *cache[[]string] // addresses of the members, by distinguished name
	asking  singleflight.Group
	state   outage.State
}

// New returns a directory. It does not connect.
func New(cfg Config, env Env) (*Directory, error) {
	roots, err := files.Roots(env.Data, cfg.CA)
	if err != nil {
		return nil, fmt.Errorf("directory %q: ca: %w", cfg.Name, err)
	}
	client, err := newClient(&cfg, roots)
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", cfg.Name, err)
	}
	return &Directory{
		cfg: cfg, schema: schemas[cfg.Schema], log: env.Log, client: client,
		entries: newCache[*Entry](&cfg), groups: newCache[[]string](&cfg),
	}, nil
}

// Name returns the label of the block.
func (d *Directory) Name() string { return d.cfg.Name }

// Close closes the idle connections.
func (d *Directory) Close() { d.client.close() }

// Inherit takes over the cached answers of a directory with the same settings.
func (d *Directory) Inherit(old *Directory) {
	a, b := d.cfg, old.cfg
	if a.URL == b.URL && a.Base == b.Base && a.Schema == b.Schema && a.Filter == b.Filter && a.Disabled == b.Disabled && a.KnownMax == b.KnownMax {
		d.entries.answers, d.groups.answers = old.entries.answers, old.groups.answers
	}
}

// Find returns the entry with an address. The error is ErrUnknown if there is
// none, otherwise the reason why the directory cannot be asked.
func (d *Directory) Find(ctx context.Context, address string) (*Entry, error) {
	address = strings.ToLower(address)
	return lookup(ctx, d, d.entries, "address "+address, func(ctx context.Context) (*Entry, bool, error) {
		e, err := d.find(ctx, d.schema.byAddress(address), address)
		return e, e != nil && !d.hides(e), err
	})
}

// Exists reports whether an address exists. An error means that the directory
// cannot be asked.
func (d *Directory) Exists(ctx context.Context, address string) (bool, error) {
	_, err := d.Find(ctx, address)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

// hides reports whether an entry does not receive mail.
func (d *Directory) hides(e *Entry) bool { return e.Disabled && d.cfg.Disabled == "refuse" }

// Members returns the addresses of the members of a group, including those of
// groups in it.
func (d *Directory) Members(ctx context.Context, group *Entry) ([]string, error) {
	return lookup(ctx, d, d.groups, "members of "+group.DN, func(ctx context.Context) ([]string, bool, error) {
		r := &memberReader{ctx: ctx, d: d}
		if _, domain, ok := cutAt(group.Address); ok {
			r.domain = domain
		}
		list, err := expand(group, r, d.cfg.Disabled == "refuse")
		return list, true, err
	})
}

// Cached returns what is known about an address without asking; known is false
// if nothing is.
func (d *Directory) Cached(address string) (exists, known bool) {
	a, ok := d.entries.fresh("address "+strings.ToLower(address), time.Now())
	return a.found, ok
}

// lookup returns a cached answer, or asks. Concurrent questions with the same
// key are asked once. While the directory cannot be asked, a value that was
// found earlier is used.
func lookup[V any](ctx context.Context, d *Directory, c *cache[V], key string, ask func(context.Context) (V, bool, error)) (value V, err error) {
	if a, ok := c.fresh(key, time.Now()); ok {
		return a.result()
	}
	if err = d.state.Resting(time.Now()); err == nil {
		done := d.asking.DoChan(key, func() (any, error) {
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.patience())
			defer cancel()
			v, found, err := ask(limited)
			d.note(err)
			if err == nil {
				c.add(key, v, found, time.Now())
			}
			return answer[V]{value: v, found: found}, err
		})
		select {
		case r := <-done:
			if r.Err == nil {
				return r.Val.(answer[V]).result()
			}
			err = r.Err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if v, ok := c.usable(key, time.Now()); ok {
		return v, nil
	}
	return value, fmt.Errorf("directory %q: %w", d.cfg.Name, err)
}

// patience is how long a question may take: a request to each server, or for a
// group, one to each member.
func (d *Directory) patience() time.Duration {
	return d.cfg.Timeout * time.Duration(len(d.client.servers)+2)
}

func (a answer[V]) result() (value V, err error) {
	if !a.found {
		return value, ErrUnknown
	}
	return a.value, nil
}

// Login checks a password and returns the entry of its user. The error is
// ErrPassword, or the reason why the directory cannot be asked. Answers are not
// cached.
func (d *Directory) Login(ctx context.Context, name, password string) (*Entry, error) {
	if err := d.state.Resting(time.Now()); err != nil {
		return nil, fmt.Errorf("directory %q: %w", d.cfg.Name, err)
	}
	name = strings.ToLower(name)
	e, err := d.find(ctx, d.schema.byLogin(name), name)
	d.note(err)
	switch {
	case err != nil:
		return nil, fmt.Errorf("directory %q: %w", d.cfg.Name, err)
	case e == nil || e.Ambiguous || e.Group || e.Disabled:
		return nil, ErrPassword
	}
	switch err := d.client.check(ctx, e.DN, password); {
	case errors.Is(err, errPassword):
		return nil, ErrPassword
	case err != nil:
		if reply, ok := errors.AsType[*ldap.Error](err); ok && reply.ResultCode < ldap.ErrorNetwork {
			return nil, fmt.Errorf("directory %q: %w: %w", d.cfg.Name, ErrReply, err)
		}
		d.note(err)
		return nil, fmt.Errorf("directory %q: %w", d.cfg.Name, err)
	}
	return e, nil
}

// find returns the entry that matches a filter, or nil.
func (d *Directory) find(ctx context.Context, filter, address string) (*Entry, error) {
	_, domain, _ := cutAt(address)
	found, err := d.client.search(ctx, query{d.cfg.Base, ldap.ScopeWholeSubtree, d.restricted(filter), d.schema.attributes(), 2})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	slices.SortFunc(found, func(a, b *ldap.Entry) int { return strings.Compare(a.DN, b.DN) })
	e := d.schema.entry(found[0], domain)
	if e.Ambiguous = len(found) > 1; e.Ambiguous {
		d.log.Warn().Str("address", safe.Log(address)).Str("dn", safe.Log(found[0].DN)).Str("other", safe.Log(found[1].DN)).
			Msg("several entries of the directory have the address")
	}
	return e, nil
}

// restricted returns a filter with the configured one added.
func (d *Directory) restricted(filter string) string {
	if d.cfg.Filter == "" {
		return filter
	}
	return "(&" + filter + d.cfg.Filter + ")"
}

// memberReader reads the members of groups.
type memberReader struct {
	ctx    context.Context
	d      *Directory
	domain string
}

func (r *memberReader) byName(dn string) (*Entry, error) {
	return r.read(query{dn, ldap.ScopeBaseObject, "(objectClass=*)", r.d.schema.attributes(), 1})
}

func (r *memberReader) byUID(uid string) (*Entry, error) {
	return r.read(query{r.d.cfg.Base, ldap.ScopeWholeSubtree, r.d.restricted(r.d.schema.byUID(uid)), r.d.schema.attributes(), 1})
}

func (r *memberReader) read(q query) (*Entry, error) {
	found, err := r.d.client.search(r.ctx, q)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return r.d.schema.entry(found[0], r.domain), nil
}

// Probe connects to the directory and reads its base.
func (d *Directory) Probe(ctx context.Context) error {
	found, err := d.client.search(ctx, query{d.cfg.Base, ldap.ScopeBaseObject, "(objectClass=*)", []string{"objectClass"}, 1})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the base %s does not exist, or bind_dn may not read it", d.cfg.Base)
	}
	return err
}

// note records the result of a question, unless the error does not mean that the
// directory is unavailable.
func (d *Directory) note(err error) {
	switch {
	case errors.Is(err, ErrTooLarge), errors.Is(err, errBusy), errors.Is(err, context.Canceled):
	case !d.state.Set(err, time.Now()):
	case err == nil:
		d.log.Info().Msg("the directory answers again")
	default:
		d.log.Warn().Str("cause", safe.Log(err.Error())).Dur("stale_for", d.cfg.StaleFor).Msg("the directory cannot be asked; cached answers are used")
	}
}

// Health is the state of a directory.
type Health struct {
	outage.Outage
	// Cached is the number of cached answers.
	Cached int `json:"cached"`
}

// Health returns the state of the directory.
func (d *Directory) Health() Health { return Health{d.state.Outage(), d.entries.len()} }
