package filters

// Inheritor is a filter with state in memory. Inherit hands it the state of
// another filter of the same kind and settings before it is used; both may run
// for a while and then share the state.
type Inheritor interface {
	Inherit(from Filter)
}

// Inherit hands the state of the previous chain's filters to those of c,
// because a reload makes new filters and must not reset what they know. A
// filter continues the one with the same settings; if several have them, they
// are matched in order. A filter with changed settings starts from what is on
// disk.
func (c *Chain) Inherit(from *Chain) {
	followed := make([]bool, len(from.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		next, ok := e.Filter.(Inheritor)
		if !ok {
			continue
		}
		for j := range from.Entries {
			if old := &from.Entries[j]; !followed[j] && old.Name == e.Name && old.settings == e.settings {
				followed[j] = true
				next.Inherit(old.Filter)
				break
			}
		}
	}
}
