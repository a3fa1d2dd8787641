//go:build !linux

package maildrop

// notifier is for systems without inotify: polling does its work.
type notifier struct{}

func newNotifier() *notifier { return nil }

func (*notifier) add(*Folder)       {}
func (*notifier) remove(*Folder)    {}
func (*notifier) run(func(*Folder)) {}
func (*notifier) close()            {}
