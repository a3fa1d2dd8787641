//go:build !linux

package owner

// ReadAll does nothing: on this system a process that works as another user has
// that user's file permissions.
func ReadAll() {}
