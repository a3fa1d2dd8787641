//go:build !linux

package maildrop

// notifier is unused on systems without inotify, where only polling is used.
type notifier struct{}

func newNotifier() *notifier { return nil }

func (*notifier) add(*Folder)       {}
func (*notifier) remove(*Folder)    {}
func (*notifier) run(func(*Folder)) {}
func (*notifier) close()            {}
