//go:build !linux

package maildrop

// notifier is unused on systems without inotify, which rely on polling alone.
type notifier struct{}

func newNotifier() *notifier { return nil }

func (*notifier) add(*Folder)       {}
func (*notifier) remove(*Folder)    {}
func (*notifier) run(func(*Folder)) {}
func (*notifier) close()            {}
