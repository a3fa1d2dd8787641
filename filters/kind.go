package filters

// Kind is what makes the filters of one name.
type Kind struct {
	Name string
	// Config gives a pointer to a new, empty configuration.
	Config func() any
	// New makes a filter of what Config gave, once it is filled in.
	New func(config any, env Env) (Filter, error)
}

// Of makes the Kind of a filter that is configured by a C.
func Of[C any](name string, make func(C, Env) (Filter, error)) Kind {
	return Kind{
		Name:   name,
		Config: func() any { return new(C) },
		New:    func(config any, env Env) (Filter, error) { return make(*config.(*C), env) },
	}
}
