"""Builds images, in the style of those who launch a process to tell how far they are."""

from RuoteAMQP.workitem import DictAttrProxy as dap
from RuoteAMQP import Launcher


class ParticipantHandler(object):

    def __init__(self):
        self.worker_config = None
        self.launcher = None
        self.process = """Ruote.process_definition 'tell' do
             update_image_status :status => '%s'
           end
        """

    def push_status(self, status, fields):
        fields.update({"priority": "high"})
        self.launcher.launch(self.process % status, fields)

    def handle_lifecycle_control(self, ctrl):
        if ctrl.message == "start":
            self.worker_config = dap({"extra_opts": ctrl.config.get("image", "opts").split()})
            self.launcher = Launcher(amqp_host=ctrl.config.get("boss", "amqp_host"),
                                     amqp_user=ctrl.config.get("boss", "amqp_user"),
                                     amqp_pass=ctrl.config.get("boss", "amqp_pwd"),
                                     amqp_vhost=ctrl.config.get("boss", "amqp_vhost"))

    def handle_wi(self, wid):
        if wid.fields.debug_dump or wid.params.debug_dump:
            print(wid.dump())
        wid.result = False
        f = wid.fields
        if not f.msg:
            f.msg = []
        if f.image:
            args = f.image.as_dict()
        else:
            args = {"name": f.name, "arch": f.arch}
            f.image = args
        jargs = dap(args)
        if not jargs.name or not jargs.arch:
            missing = [name for name in ("name", "arch") if not args[name]]
            raise RuntimeError("Missing mandatory fields: %s" % ",".join(missing))
        if not jargs.prefix or jargs.prefix == "":
            jargs.prefix = "requests"
        jargs.extra_opts = list(self.worker_config.extra_opts)
        self.push_status("BUILDING", dict(f.as_dict()))
        image = f.image.as_dict()
        image.update({"result": True, "files": ["%s.img" % f.image.name]})
        f.image = image
        f.msg.append("Image %s built for arch %s" % (f.image.name, f.image.arch))
        wid.result = f.image.result
        self.push_status("DONE" if wid.result else "ERROR", dict(f.as_dict()))
