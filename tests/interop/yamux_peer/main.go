// A yamux peer of another hand, for tests/interop/test_yamux.py. It listens on a free loopback port, prints it, takes one
// connection and plays the side named by -role: as "server" it opens -streams streams, writes -bytes of a pattern on each,
// half-closes and reads the echo; as "client" it accepts streams and echoes them.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

func pattern(seed, count int) []byte {
	data := make([]byte, count)
	for i := range data {
		data[i] = byte(seed*31 + i*7 + i>>9)
	}
	return data
}

func converse(stream *yamux.Stream, seed, count int) error {
	want := pattern(seed, count)
	failed := make(chan error, 1)
	go func() {
		_, err := stream.Write(want)
		if err == nil {
			err = stream.Close() // half-close: reading goes on
		}
		failed <- err
	}()
	got, err := io.ReadAll(stream)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if string(got) != string(want) {
		return fmt.Errorf("stream %d: %d bytes came back, %d were sent", seed, len(got), len(want))
	}
	return nil
}

func open(session *yamux.Session, streams, count int) {
	var group sync.WaitGroup
	for seed := 0; seed < streams; seed++ {
		group.Add(1)
		go func(seed int) {
			defer group.Done()
			stream, err := session.OpenStream()
			if err == nil {
				err = converse(stream, seed, count)
			}
			if err != nil {
				log.Fatal(err)
			}
		}(seed)
	}
	group.Wait()
	rtt, err := session.Ping()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("ok %v\n", rtt > 0)
	if err := session.GoAway(); err != nil {
		log.Fatal(err)
	}
}

func accept(session *yamux.Session) {
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			fmt.Println("over")
			return
		}
		go func() {
			if _, err := io.Copy(stream, stream); err == nil {
				stream.Close()
			}
		}()
	}
}

func main() {
	role := flag.String("role", "server", "server or client of yamux")
	streams := flag.Int("streams", 20, "streams to open")
	count := flag.Int("bytes", 1000000, "bytes on each")
	window := flag.Uint("window", 262144, "largest stream window")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	conn, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	config := yamux.DefaultConfig()
	config.LogOutput = os.Stderr
	config.MaxStreamWindowSize = uint32(*window)
	config.KeepAliveInterval = 100 * time.Millisecond
	if *role == "server" {
		session, err := yamux.Server(conn, config)
		if err != nil {
			log.Fatal(err)
		}
		open(session, *streams, *count)
		<-session.CloseChan()
		return
	}
	session, err := yamux.Client(conn, config)
	if err != nil {
		log.Fatal(err)
	}
	accept(session)
}
