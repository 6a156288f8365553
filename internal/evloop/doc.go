// Package evloop drives many connections with few goroutines: one event loop
// for each processor waits for all its sockets with epoll, or receives and sends
// for them by io_uring, and runs the tasks that they belong to. DESIGN.md says why the runtime's own poller is not enough.
//
// A task runs on its loop's goroutine as long as it does not wait. One that has
// to wait for something other than its connections calls Task.Detach; another
// goroutine then goes on with the loop.
//
// Linux only: elsewhere the package is empty.
package evloop
