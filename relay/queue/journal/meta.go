package journal

// Meta gives what was put beside a live message, and its latest state.
func (l *Log) Meta(id string) (meta, state []byte, err error) {
	l.mu.Lock()
	e := l.index[id]
	if e == nil || e.seg == nil {
		l.mu.Unlock()
		return nil, nil, ErrUnknown
	}
	v := survivor{id, *e}
	v.e.seg.refs++
	if v.e.set != nil {
		v.e.set.refs++
		defer l.release(v.e.set)
	}
	l.mu.Unlock()
	defer l.release(v.e.seg)
	return l.readBeside(&v)
}

// Meta gives what was put beside a live message, and its latest state.
func (j *Memory) Meta(id string) (meta, state []byte, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.entries[id]
	if e == nil {
		return nil, nil, ErrUnknown
	}
	return e.Entry.Meta, e.Entry.State, nil
}
