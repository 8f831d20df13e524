import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.FileWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.sql.SQLException;
import java.util.Locale;
import java.util.UUID;

/** pgjdbc with HikariCP: eight workers, each with one write after the other, and a line in the ledger for each write. */
public class Client {
    static final int WORKERS = 8;
    static final int PAUSE = 100; // ms, between two writes of one worker

    static volatile boolean stopped = false;
    static PrintWriter file;

    static synchronized void line(String text) {
        file.println(text);
        file.flush();
    }

    static String quoted(String text) {
        String one = text == null ? "" : text.replaceAll("\\s+", " ").replace("\\", "\\\\").replace("\"", "\\\"");
        return '"' + one + '"';
    }

    /** pgjdbc's `primary` is what libpq calls read-write: it asks for transaction_read_only. */
    static String url(String hosts, String database, String target) {
        String parameters = switch (target) {
            case "pooler" -> "prepareThreshold=0"; // in transaction mode, prepared statements are lost
            case "read-write" -> "targetServerType=primary";
            default -> "targetServerType=" + target;
        };
        return "jdbc:postgresql://" + hosts + "/" + database + "?" + parameters;
    }

    static void attempt(HikariDataSource pool, int worker) {
        String id = UUID.randomUUID().toString();
        boolean sent = false;
        String failure = "";
        try (var connection = pool.getConnection();
             var statement = connection.prepareStatement("insert into written (id, client) values (?, 'pgjdbc')")) {
            statement.setString(1, id);
            sent = true;
            statement.executeUpdate();
        } catch (SQLException error) {
            failure = String.format(", \"sent\": %b, \"sqlstate\": %s, \"error\": %s", sent, quoted(error.getSQLState()), quoted(error.getMessage()));
        }
        line(String.format(Locale.ROOT, "{\"at\": %.3f, \"worker\": %d, \"id\": \"%s\"%s}", System.currentTimeMillis() / 1000.0, worker, id, failure));
    }

    static void work(HikariDataSource pool, int worker) {
        try {
            while (!stopped) {
                attempt(pool, worker);
                Thread.sleep(PAUSE);
            }
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        String hosts = arguments[0];
        String target = arguments[1];
        if (target.equals("primary")) {
            System.err.println("its primary is read-write");
            System.exit(77);
        }
        file = new PrintWriter(new FileWriter(arguments[2], true));
        var config = new HikariConfig();
        config.setJdbcUrl(url(hosts, System.getenv("PGDATABASE"), target));
        config.setUsername(System.getenv("PGUSER"));
        config.setPassword(System.getenv("PGPASSWORD"));
        config.addDataSourceProperty("ApplicationName", "pgjdbc");
        config.setMaximumPoolSize(WORKERS);
        var pool = new HikariDataSource(config);
        String told = target.equals("pooler") ? "pooler:6432" : "old:5432,new:5432";
        line(String.format("{\"driver\": \"pgjdbc %s, HikariCP %s\", \"settings\": \"%s\"}", org.postgresql.util.DriverInfo.DRIVER_VERSION,
            HikariDataSource.class.getProtectionDomain().getCodeSource().getLocation().getPath().replaceAll(".*HikariCP-|\\.jar", ""),
            url(told, "", target)));
        Thread[] threads = new Thread[WORKERS];
        for (int n = 0; n < WORKERS; n++) {
            int worker = n;
            threads[n] = new Thread(() -> work(pool, worker));
            threads[n].start();
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopped = true;
            for (Thread thread : threads) {
                try {
                    thread.join(5000);
                } catch (InterruptedException ignored) {
                    return;
                }
            }
        }));
        for (Thread thread : threads) thread.join();
    }
}
