package filters

// Kind creates the filters with one name.
type Kind struct {
	Name string
	// Config returns a pointer to a new, empty configuration.
	Config func() any
	// New creates a filter from a configuration that was returned by Config and
	// has been filled in.
	New func(config any, env Env) (Filter, error)
}

// Of returns the Kind of a filter that is configured by a C.
func Of[C any](name string, make func(C, Env) (Filter, error)) Kind {
	return Kind{
		Name:   name,
		Config: func() any { return new(C) },
		New:    func(config any, env Env) (Filter, error) { return make(*config.(*C), env) },
	}
}
